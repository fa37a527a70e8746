"""A service for tests: answers who asks, over TCP (HTTP) and UDP, on both
address families.

usage: peer.py PORT [LOG]

HTTP answers with the client's address; UDP with that and what was sent. Each
contact is a line of LOG.
"""
import socket
import sys
import threading

port = int(sys.argv[1])
log = open(sys.argv[2], "a", buffering=1) if len(sys.argv) > 2 else sys.stderr


def plain(address):
    return address.removeprefix("::ffff:")


def http(client, address):
    with client:
        print("tcp", plain(address[0]), file=log)
        client.settimeout(20)
        request = b""
        while b"\r\n\r\n" not in request:
            more = client.recv(4096)
            if not more:
                return
            request += more
        body = plain(address[0]).encode() + b"\n"
        client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def datagrams(udp):
    while True:
        data, address = udp.recvfrom(65535)
        print("udp", plain(address[0]), file=log)
        udp.sendto(plain(address[0]).encode() + b" " + data, address)


udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(("::", port))
threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    client, address = tcp.accept()
    threading.Thread(target=http, args=(client, address), daemon=True).start()
