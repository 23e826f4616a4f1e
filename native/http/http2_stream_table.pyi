# Finds the streams of one HTTP/2 connection.  Types of the compiled module; see http2_stream_table.pxd.

class StreamTable:
    # The streams that the session knows.

    @property
    def count(self) -> int: ...
