"""An application with redis-py, which writes to a cluster: `writer.py PREFIX PORTS TAGS`, until its input ends.

Prints a line for each write: `ok N`, or `failed N` and the error. What fails is not tried again here, only by the library.
"""

import sys
import threading

from redis.cluster import ClusterNode, RedisCluster

prefix, ports, tags = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(",")
nodes = [ClusterNode("127.0.0.1", int(port)) for port in ports]
# A node that has been cut off must not hold the application for ever.
cluster = RedisCluster(startup_nodes=nodes, socket_timeout=5, socket_connect_timeout=5)

ended = threading.Event()


def wait_for_end():
    sys.stdin.read()
    ended.set()


threading.Thread(target=wait_for_end, daemon=True).start()
number = 0
while not ended.is_set():
    key = f"{{{tags[number % len(tags)]}}}:{prefix}:{number}"
    try:
        cluster.set(key, number)
        print("ok", number, flush=True)
    except Exception as error:
        print("failed", number, type(error).__name__, str(error).replace("\n", " "), flush=True)
    number += 1
