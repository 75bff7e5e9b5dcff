"""The gRPC of a stubbed Qdrant server, as far as an upload needs it, with its faults."""

from concurrent.futures import ThreadPoolExecutor
from typing import Self

import grpc
from qdrant_client.conversions.conversion import GrpcToRest, payload_to_grpc
from qdrant_client.grpc import collections_pb2, collections_service_pb2_grpc, points_pb2, points_service_pb2_grpc
from qdrant_client.http import models

from tests.stub_server import StubServer, _upsert


class StubGrpc(
    collections_service_pb2_grpc.CollectionsServicer,
    points_service_pb2_grpc.PointsServicer,
):
    """Use as a context manager; `port` is where it answers for a StubServer, `stored` how many points each upload had,
    `points` those that came, by id.

    fail: the numbers of the uploads that fail, "before" or "after" they are carried out.
    """

    def __init__(self, stub: StubServer, fail: dict[int, str] | None = None):
        self.stub, self.fail = stub, fail or {}
        self.stored: list[int] = []
        self.points: dict = {}
        self.server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
        collections_service_pb2_grpc.add_CollectionsServicer_to_server(self, self.server)
        points_service_pb2_grpc.add_PointsServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.stop(None).wait()

    def Get(self, request, context):
        if request.collection_name not in self.stub.collections:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such collection")
        made = self.stub.collections[request.collection_name]
        config = collections_pb2.CollectionConfig(metadata=payload_to_grpc(made.metadata or {}))
        return collections_pb2.GetCollectionInfoResponse(result=collections_pb2.CollectionInfo(config=config))

    def Upsert(self, request, context):
        fault = self.fail.get(len(self.stored))
        self.stored.append(len(request.points))
        if fault == "before":
            context.abort(grpc.StatusCode.UNAVAILABLE, "the stub was told to fail")
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        self.points |= {point.id: point for point in points}
        with self.stub._lock:
            _upsert(self.stub, request.collection_name, models.PointsList(points=points), part=False)
        if fault == "after":
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the stub was told to fail")
        return points_pb2.PointsOperationResponse(result=points_pb2.UpdateResult(status=points_pb2.Completed))
