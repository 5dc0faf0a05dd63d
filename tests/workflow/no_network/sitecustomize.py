"""Python imports this at its start, if it is on the path: no connection leaves this machine.

An attempt is an error, and a line in the file that BLD_TEST_NETWORK_LOG names, so that those which
are caught are seen too. Looking up a name is an attempt, but for names of this machine
(BLD_TEST_OWN_HOSTS: further ones). It sees whatever goes through Python's own sockets.
"""

import ipaddress
import os
import socket
import sys

ASKED_FOR_A_NAME = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
ASKED_FOR_AN_ADDRESS = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def is_local(host):
    own = ["localhost", socket.gethostname(), *os.environ.get("BLD_TEST_OWN_HOSTS", "").split()]
    if not host or not isinstance(host, str) or host in own:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(event, arguments):
    if event in ASKED_FOR_A_NAME:
        host = arguments[0]
    elif event in ASKED_FOR_AN_ADDRESS:
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if not is_local(host):
        if log := os.environ.get("BLD_TEST_NETWORK_LOG"):
            with open(log, "a") as file:
                file.write(f"{host}: {event} in {' '.join(sys.orig_argv)}\n")
        raise OSError(f"the tests allow no network, but {host} was asked for")


sys.addaudithook(refuse)
