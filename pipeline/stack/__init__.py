"""The local stack: a broker, Triton and workers as supervised children of one command.

process.py          one child: started, probed, restarted, ended
leash.py            what a child is started through, so that it cannot outlive its parent
ports.py            ports that stay ours across a restart
probe.py            whether a child answers
lock.py             one fetch at a time
embedded_broker.py  a Kafka-protocol broker in memory
kafka.py            Apache Kafka, one node or three
triton.py           the real Triton server, on CPU
onnxruntime_backend what Triton runs ONNX models with on CPU
up.py               all of it, in order
"""
