"""Python imports this at its start, if it is on the path: no connection leaves this machine."""

import ipaddress
import socket


def local(address):
    if not isinstance(address, tuple):
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


def guarded(method):
    def call(self, address, *arguments):
        if not local(address):
            raise OSError(f"the tests allow no network, but {address} was asked for")
        return method(self, address, *arguments)

    return call


socket.socket.connect = guarded(socket.socket.connect)
socket.socket.connect_ex = guarded(socket.socket.connect_ex)
socket.socket.sendto = guarded(socket.socket.sendto)
