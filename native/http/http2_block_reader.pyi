# Reads the header blocks of one HTTP/2 connection.  Types of the compiled module; see http2_block_reader.pxd.

class BlockReader:
    # Reads one header block after another.

    def __init__(self, header_bytes: int, header_count: int) -> None: ...
