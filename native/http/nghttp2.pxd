"""Declares the part of libnghttp2 that is used here. The library does the framing, HPACK and flow control.

Source: nghttp2.h of 1.52 (https://nghttp2.org/documentation/). Pointers that a callback receives are borrowed for the
length of the call. Arguments of submit functions are copied, except names and values with a NO_COPY flag: these are
borrowed until their frame has been written. -902 is NGHTTP2_ERR_CALLBACK_FAILURE: Cython wants it as a number."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef extern from *:
    """
    /* The names that 1.60 deprecates are the only ones that every version has. */
    #define NGHTTP2_NO_SSIZE_T_WARNING
    #include <nghttp2/nghttp2.h>
    #pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    /* Versions from 1.57, and older ones that distributions have patched, end a session after 1000 resets and 33 more
       each second, whatever the streams have cost. Not every version that is built with has the function. */
    #include <stdint.h>
    extern void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option*, uint64_t, uint64_t) __attribute__((weak));
    static void leave_resets_to_us(nghttp2_option* option) {
        if (nghttp2_option_set_stream_reset_rate_limit)
            nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, UINT64_MAX);
    }
    """
    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_option:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    void leave_resets_to_us(nghttp2_option*) noexcept      # the session counts no resets; http2_guard does
    ctypedef struct nghttp2_rcbuf:
        pass
    ctypedef struct nghttp2_vec:
        uint8_t* base
        size_t len
    ctypedef struct nghttp2_nv:
        uint8_t* name
        uint8_t* value
        size_t namelen
        size_t valuelen
        uint8_t flags
    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value
    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags
    ctypedef int nghttp2_headers_category
    ctypedef struct nghttp2_headers:
        nghttp2_frame_hd hd
        nghttp2_headers_category cat
    ctypedef struct nghttp2_rst_stream:
        nghttp2_frame_hd hd
        uint32_t error_code
    ctypedef struct nghttp2_goaway:
        nghttp2_frame_hd hd
        int32_t last_stream_id
        uint32_t error_code
    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_headers headers
        nghttp2_rst_stream rst_stream
        nghttp2_goaway goaway
    ctypedef union nghttp2_data_source:
        int fd
        void* ptr
    ctypedef Py_ssize_t (*nghttp2_data_source_read_callback)(
        nghttp2_session*, int32_t, uint8_t*, size_t, uint32_t*, nghttp2_data_source*, void*) except -902
    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        nghttp2_data_source_read_callback read_callback
    ctypedef struct nghttp2_extpri:
        uint32_t urgency
        int inc
    ctypedef struct nghttp2_mem:
        void* mem_user_data
        void* (*malloc)(size_t, void*) noexcept
        void (*free)(void*, void*) noexcept
        void* (*calloc)(size_t, size_t, void*) noexcept
        void* (*realloc)(void*, size_t, void*) noexcept

    const int NGHTTP2_DATA
    const int NGHTTP2_HEADERS
    const int NGHTTP2_RST_STREAM
    const int NGHTTP2_SETTINGS
    const int NGHTTP2_PING
    const int NGHTTP2_GOAWAY

    const int NGHTTP2_FLAG_NONE
    const int NGHTTP2_FLAG_END_STREAM
    const int NGHTTP2_FLAG_ACK
    const int NGHTTP2_NV_FLAG_NONE
    const int NGHTTP2_NV_FLAG_NO_INDEX
    const int NGHTTP2_NV_FLAG_NO_COPY_NAME
    const int NGHTTP2_NV_FLAG_NO_COPY_VALUE
    const int NGHTTP2_DATA_FLAG_EOF
    const int NGHTTP2_DATA_FLAG_NO_END_STREAM

    const int NGHTTP2_HCAT_REQUEST
    const int NGHTTP2_HCAT_RESPONSE

    const int NGHTTP2_SETTINGS_ENABLE_PUSH
    const int NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    const int NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    const int NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    const int NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES

    const int NGHTTP2_NO_ERROR
    const int NGHTTP2_PROTOCOL_ERROR
    const int NGHTTP2_INTERNAL_ERROR
    const int NGHTTP2_FLOW_CONTROL_ERROR
    const int NGHTTP2_STREAM_CLOSED
    const int NGHTTP2_FRAME_SIZE_ERROR
    const int NGHTTP2_REFUSED_STREAM
    const int NGHTTP2_CANCEL
    const int NGHTTP2_COMPRESSION_ERROR
    const int NGHTTP2_ENHANCE_YOUR_CALM

    const int NGHTTP2_ERR_DEFERRED
    const int NGHTTP2_ERR_FLOODED
    const int NGHTTP2_ERR_NOMEM
    const int NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    const int NGHTTP2_ERR_CALLBACK_FAILURE

    const char* nghttp2_strerror(int)
    const char* nghttp2_http2_strerror(uint32_t)
    nghttp2_vec nghttp2_rcbuf_get_buf(nghttp2_rcbuf*)
    void nghttp2_rcbuf_incref(nghttp2_rcbuf*)
    void nghttp2_rcbuf_decref(nghttp2_rcbuf*)

    int nghttp2_option_new(nghttp2_option**)
    void nghttp2_option_set_no_auto_window_update(nghttp2_option*, int)
    void nghttp2_option_set_no_closed_streams(nghttp2_option*, int)
    void nghttp2_option_set_max_outbound_ack(nghttp2_option*, size_t)
    void nghttp2_option_set_max_reserved_remote_streams(nghttp2_option*, uint32_t)
    void nghttp2_option_set_max_send_header_block_length(nghttp2_option*, size_t)

    int nghttp2_session_callbacks_new(nghttp2_session_callbacks**)
    void nghttp2_session_callbacks_set_on_begin_headers_callback(
        nghttp2_session_callbacks*, int (*)(nghttp2_session*, const nghttp2_frame*, void*) except -902)
    void nghttp2_session_callbacks_set_on_header_callback2(
        nghttp2_session_callbacks*,
        int (*)(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*, uint8_t, void*) except -902)
    void nghttp2_session_callbacks_set_on_invalid_header_callback2(
        nghttp2_session_callbacks*,
        int (*)(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*, uint8_t, void*) except -902)
    void nghttp2_session_callbacks_set_on_frame_recv_callback(
        nghttp2_session_callbacks*, int (*)(nghttp2_session*, const nghttp2_frame*, void*) except -902)
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        nghttp2_session_callbacks*,
        int (*)(nghttp2_session*, uint8_t, int32_t, const uint8_t*, size_t, void*) except -902)
    void nghttp2_session_callbacks_set_on_frame_send_callback(
        nghttp2_session_callbacks*, int (*)(nghttp2_session*, const nghttp2_frame*, void*) except -902)
    void nghttp2_session_callbacks_set_on_stream_close_callback(
        nghttp2_session_callbacks*, int (*)(nghttp2_session*, int32_t, uint32_t, void*) except -902)

    int nghttp2_session_server_new3(
        nghttp2_session**, const nghttp2_session_callbacks*, void*, const nghttp2_option*, nghttp2_mem*)
    int nghttp2_session_client_new3(
        nghttp2_session**, const nghttp2_session_callbacks*, void*, const nghttp2_option*, nghttp2_mem*)
    void nghttp2_session_del(nghttp2_session*)
    # These two run the callbacks, and return at once when one fails: with its exception, if it has raised one.
    Py_ssize_t nghttp2_session_mem_recv(nghttp2_session*, const uint8_t*, size_t) except? -902
    Py_ssize_t nghttp2_session_mem_send(nghttp2_session*, const uint8_t**) except? -902
    int nghttp2_session_want_read(nghttp2_session*)
    int nghttp2_session_want_write(nghttp2_session*)
    int nghttp2_session_resume_data(nghttp2_session*, int32_t)
    int nghttp2_session_consume_connection(nghttp2_session*, size_t)
    int nghttp2_session_consume_stream(nghttp2_session*, int32_t, size_t)
    int32_t nghttp2_session_get_stream_remote_window_size(nghttp2_session*, int32_t)
    int32_t nghttp2_session_get_remote_window_size(nghttp2_session*)
    int nghttp2_session_set_local_window_size(nghttp2_session*, uint8_t, int32_t, int32_t)
    int nghttp2_session_terminate_session(nghttp2_session*, uint32_t)
    int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session*)
    uint32_t nghttp2_session_get_next_stream_id(nghttp2_session*)
    uint32_t nghttp2_session_get_remote_settings(nghttp2_session*, int)
    size_t nghttp2_session_get_outbound_queue_size(nghttp2_session*)
    int nghttp2_session_change_extpri_stream_priority(nghttp2_session*, int32_t, const nghttp2_extpri*, int)

    int nghttp2_submit_settings(nghttp2_session*, uint8_t, const nghttp2_settings_entry*, size_t)
    int32_t nghttp2_submit_request(
        nghttp2_session*, const void*, const nghttp2_nv*, size_t, const nghttp2_data_provider*, void*)
    int nghttp2_submit_response(nghttp2_session*, int32_t, const nghttp2_nv*, size_t, const nghttp2_data_provider*)
    int32_t nghttp2_submit_headers(
        nghttp2_session*, uint8_t, int32_t, const void*, const nghttp2_nv*, size_t, void*)
    int nghttp2_submit_trailer(nghttp2_session*, int32_t, const nghttp2_nv*, size_t)
    int nghttp2_submit_rst_stream(nghttp2_session*, uint8_t, int32_t, uint32_t)
    int nghttp2_submit_ping(nghttp2_session*, uint8_t, const uint8_t*)
    int nghttp2_submit_goaway(nghttp2_session*, uint8_t, int32_t, uint32_t, const uint8_t*, size_t)
    int nghttp2_submit_shutdown_notice(nghttp2_session*)
