"""Small model servers that speak the Open Inference Protocol: a label for each number, and what can go wrong."""

import json
import random
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any

import grpc
from envoy_servers import _Server, loopback
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tidegate.resources.triton import GRPC, HTTP


@dataclass
class LabelServer:
    """The label of a number is whether it is over 0.5; numbers below ``wrong_below`` get the other label.

    ``noise`` is the share of answers that are wrong by mere chance.
    """

    name: str
    wrong_below: float = 0.0
    noise: float = 0.0
    status: int = 200
    padding: int = 0
    """Bytes that are added to an answer."""
    delay: float = 0.0
    address: str = field(default_factory=loopback)
    asked: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def label(self, number: float) -> int:
        """The answer for one number."""
        with self.lock:
            self.asked += 1
            wrong = (number < self.wrong_below) != (self.chance.random() < self.noise)
        return int(number > 0.5) ^ int(wrong)

    def start(self) -> "LabelServer":
        """Listen at the ports that Triton has."""
        self._http = _Server((self.address, HTTP), _handler(self))
        Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._grpc = grpc.server(
            ThreadPoolExecutor(4),
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Service(self), self._grpc)
        self._grpc.add_insecure_port(f"{self.address}:{GRPC}")
        self._grpc.start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(0).wait()


def _handler(server: LabelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            split = int(self.headers.get("Inference-Header-Content-Length", len(body)))
            (tensor,) = json.loads(body[:split])["inputs"]
            binary = split < len(body)
            (number,) = struct.unpack("<f", body[split : split + 4]) if binary else tensor["data"][:1]
            time.sleep(server.delay)
            label = server.label(number)
            output = {"name": "label", "datatype": "INT64", "shape": [1, 1]}
            output |= {"parameters": {"binary_data_size": 8}} if binary else {"data": [label]}
            head = json.dumps({"model_name": "digits", "outputs": [output], "padding": "x" * server.padding}).encode()
            answer = head + (struct.pack("<q", label) if binary else b"")
            self.send_response(server.status)
            self.send_header("Content-Length", str(len(answer)))
            if binary:
                self.send_header("Inference-Header-Content-Length", str(len(head)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    return Handler


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, server: LabelServer) -> None:
        self._server = server

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self._server.status != 200:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        (number,) = struct.unpack("<f", request.raw_input_contents[0][:4])
        answer = service_pb2.ModelInferResponse(model_name="digits")
        answer.outputs.add(name="label", datatype="INT64", shape=[1, 1])
        answer.raw_output_contents.append(struct.pack("<q", self._server.label(number)))
        answer.id = "x" * self._server.padding
        return answer


def http_request(number: float, size: int = 0, *, binary: bool = False) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request about one number, with ``size`` bytes more to carry."""
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 1]}
    tensor |= {"parameters": {"binary_data_size": 4}} if binary else {"data": [number]}
    head = json.dumps({"inputs": [tensor], "id": "x" * size}).encode()
    if not binary:
        return head, {}
    return head + struct.pack("<f", number), {"Inference-Header-Content-Length": str(len(head))}


def grpc_request(number: float, size: int = 0) -> Any:
    """A request about one number."""
    request = service_pb2.ModelInferRequest(model_name="digits", id="x" * size)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    request.raw_input_contents.append(struct.pack("<f", number))
    return request
