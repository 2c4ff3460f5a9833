from engine.sink import NullSink, PausableSink, Plan


class Asking(NullSink):
    """Asks what it is told to, one request after another; None means nothing this time."""

    def __init__(self, *requests):
        self.queue, self.heard = list(requests), []

    def request(self):
        return self.queue[0] if self.queue else None

    def acknowledge(self, request, step):
        self.heard.append((request, step))
        assert self.queue.pop(0) == request


class Quiet(Asking):
    """None in the queue is a look without a request."""

    def request(self):
        if self.queue and self.queue[0] is None:
            self.queue.pop(0)
            return None
        return super().request()


def test_without_a_request_it_answers_none():
    assert PausableSink(Asking()).request() is None


def test_stop_and_hand_over_pass_unacknowledged():
    for request in ("stop", "hand-over"):
        inner = Asking(request)
        assert PausableSink(inner).request() == request
        assert inner.heard == []


def test_checkpoint_and_continue_are_acknowledged_at_the_step_reached():
    inner = Asking("checkpoint", "continue")
    sink = PausableSink(inner)
    sink.plan(Plan(total_steps=10, start_step=3))
    sink.metrics(4, 4.0, {"a": 1.0})
    assert sink.request() is None
    assert inner.heard == [("checkpoint", 4), ("continue", 4)]


def test_a_pause_lasts_until_it_is_continued():
    inner = Quiet("pause", None, "checkpoint", None, "continue", "stop")
    assert PausableSink(inner).request() == "stop"
    assert [request for request, _ in inner.heard] == ["pause", "checkpoint", "continue"]
    assert inner.queue == ["stop"]


def test_a_pause_can_be_stopped():
    inner = Quiet("pause", None, None, "stop")
    assert PausableSink(inner).request() == "stop"
    assert [request for request, _ in inner.heard] == ["pause"]


def test_everything_else_is_passed_on():
    calls = []

    class Listening(NullSink):
        def __getattribute__(self, name):
            if name in ("plan", "metrics", "progress", "log", "checkpointed", "result"):
                return lambda *args: calls.append((name, *args))
            return super().__getattribute__(name)

    sink = PausableSink(Listening())
    plan = Plan(total_steps=1)
    sink.plan(plan)
    sink.metrics(1, 0.5, {"x": 2.0})
    sink.progress("a", 1, 2)
    sink.log("b")
    sink.checkpointed(3)
    sink.result({"c": 4})
    assert calls == [
        ("plan", plan), ("metrics", 1, 0.5, {"x": 2.0}), ("progress", "a", 1, 2), ("log", "b"),
        ("checkpointed", 3), ("result", {"c": 4}),
    ]  # fmt: skip
