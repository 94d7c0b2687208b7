"""What stands before the body of a request, bounded while it comes, and refused with an OperationOutcome.

The application refuses long URLs and headers too (`wire`), but it sees them only once all of them are there.
"""

from __future__ import annotations

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fhir_server import document
from fhir_server.outcome import FhirError, operation_outcome

HEAD_BYTES_MAX = 100_000
"""Bytes before the body; more than the settings for URL and headers can be together."""

URL_BYTES_KEPT = 60_000
"""Bytes of a URL that the application sees; it refuses this many, and the parser of URLs cannot take many more."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for HTTP/1.1 with a bound on heads."""

    reading_head = True
    head_bytes = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.reading_head, self.head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url[: URL_BYTES_KEPT - len(self.url)])

    def on_headers_complete(self) -> None:
        self.reading_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.reading_head and not self.transport.is_closing():
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES_MAX:
                text = f"URL and headers have at most {HEAD_BYTES_MAX} bytes together."
                self._refuse(FhirError("too-long", text, status=431))

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers to what is no HTTP."""
        self._refuse(FhirError("structure", msg))

    def _refuse(self, error: FhirError) -> None:
        """Answers without the application, and closes the connection."""
        body = document.print(operation_outcome(error.issues))
        status = HTTPStatus(error.status)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/fhir+json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
