"""What the server counts."""

from antbee.serving.observe import Metrics


def test_predictions_and_rejections() -> None:
    """Predictions are counted by label and probability, rejections by code."""
    metrics = Metrics()
    metrics.predicted("ant", 0.97)
    metrics.predicted("ant", 0.55)
    metrics.rejected("corrupt_image")
    counted = metrics.exposition().decode()

    assert 'antbee_predictions_total{label="ant"} 2.0' in counted
    assert 'antbee_probability_bucket{le="0.6"} 1.0' in counted
    assert 'antbee_rejections_total{code="corrupt_image"} 1.0' in counted


def test_stages_and_flight() -> None:
    """Time is counted by stage; pictures in flight go up and down again."""
    metrics = Metrics()
    with metrics.in_flight(), metrics.stage("decode"):
        during = metrics.exposition().decode()
    metrics.waited(0.002)
    after = metrics.exposition().decode()

    assert "antbee_pictures_in_flight 1.0" in during
    assert "antbee_pictures_in_flight 0.0" in after
    assert 'antbee_stage_seconds_count{stage="decode"} 1.0' in after
    assert 'antbee_stage_seconds_bucket{le="0.0025",stage="queue"} 1.0' in after
