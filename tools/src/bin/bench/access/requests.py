"""Milliseconds of a request on a connection of its own, as Covalent's client has them; the median."""

import http.client
import time

ROUNDS = 2_000

taken = []
for _ in range(ROUNDS):
    began = time.perf_counter()
    connection = http.client.HTTPConnection("localhost", 48008)
    connection.request("GET", "/api/v2/dispatches?dispatch_id=none")
    assert connection.getresponse().read()
    connection.close()
    taken.append(1000 * (time.perf_counter() - began))
print(sorted(taken)[ROUNDS // 2])
