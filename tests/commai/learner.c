/* A learner in C: says hello, then answers every symbol with the same one. */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

int main(int argc, char **argv) {
    char address[64], reward[64], symbol[64];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%s", argc > 1 ? argv[argc - 1] : "5556");
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_PAIR);
    if (zmq_connect(socket, address)) return 1;
    zmq_send(socket, "hello", 5, 0);
    for (;;) {
        if (zmq_recv(socket, reward, sizeof reward, 0) < 0) return 2;
        int length = zmq_recv(socket, symbol, sizeof symbol, 0);
        if (length < 0) return 3;
        zmq_send(socket, symbol, (size_t)length, 0);
    }
}
