"""Is a host there? Asked once, briefly, before a library that would retry for minutes is let loose."""

import threading
import urllib.error
import urllib.request


def answers(url: str, seconds: float = 5.0) -> bool:
    """Whether the host of `url` answers at all within `seconds`; proxies of the environment count."""
    found = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
                found.set()
        except urllib.error.HTTPError as error:
            if error.code < 500:  # 502 to 504 are a proxy's way to say that the host isn't there
                found.set()
            error.close()
        except (OSError, ValueError):
            pass

    # A name look-up can't be given a time limit, so it runs in a thread that may be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return found.is_set()
