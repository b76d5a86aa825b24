import http.server
import threading
import time

import pytest

from sqzx.data.network import answers


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that answers HEAD with a status the test sets."""

    class Handler(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_HEAD(self):
            if self.status == 0:
                time.sleep(1)
                return
            self.send_response(self.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "*")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Handler, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "expected"), [(200, True), (403, True), (404, True), (502, False)])
def test_any_answer_of_the_host_itself_counts(server, status, expected):
    handler, url = server
    handler.status = status
    assert answers(url) is expected


def test_a_silent_host_is_given_up_on(server):
    handler, url = server
    handler.status = 0
    start = time.monotonic()
    assert not answers(url, seconds=0.2)
    assert time.monotonic() - start < 0.9


def test_a_closed_port_does_not_answer(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    assert not answers("http://127.0.0.1:9/")
