"""What sed_eval says of random events, for the tests to compare with.

sed_eval 0.2.1 does not import where setuptools is 81 or newer (dcase_util needs pkg_resources), so
the tests read its numbers from a file. To make it again::

    python -m venv reference
    reference/bin/pip install "setuptools<80" sed_eval==0.2.1
    reference/bin/python tools/sed_eval_reference.py tests/train/sed_eval.json
"""

import json
import random
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import sed_eval  # noqa: E402

LABELS = ["a", "b", "c", "d"]
SEGMENTS = [0.5, 1.0, 2.0, 5.0]
COLLARS = [[0.2, 0.5], [0.2, 0.2], [0.8, 0.5], [0.2, None]]  # onset, share of the length
DURATION = 20.0
N_CASES = 16


def main():
    """Write the cases and what sed_eval says of each."""
    draw = random.Random(2019)
    cases = []
    while len(cases) < N_CASES:
        reference = [event(draw) for _ in range(draw.randint(1, 10))]
        prediction = [nearby(draw, e) for e in reference if draw.random() < 0.8]
        prediction += [event(draw) for _ in range(draw.randint(0, 4))]
        if not prediction:
            continue
        case = {"reference": reference, "prediction": prediction, "segment": [], "event": []}
        for length in SEGMENTS:
            metrics = sed_eval.sound_event.SegmentBasedMetrics(LABELS, time_resolution=length)
            metrics.evaluate(shorten_list(reference), shorten_list(prediction), DURATION)
            case["segment"].append(figures(metrics))
        for onset, share in COLLARS:
            orders = [evaluated(case, onset, share, shuffle) for shuffle in range(6)]
            # Its substitutions can depend on the order of the events: a tie, so to speak.
            alike = all(order == orders[0] for order in orders)
            case["event"].append({**orders[0], "free_of_ties": alike})
        cases.append(case)
    content = {
        "made_by": "python tools/sed_eval_reference.py, sed_eval " + sed_eval.__version__,
        "duration": DURATION,
        "segments": SEGMENTS,
        "collars": COLLARS,
        "cases": cases,
    }
    Path(sys.argv[1]).write_text(json.dumps(content, separators=(",", ":")) + "\n")


def event(draw):
    """Draw an event: label, onset, offset."""
    onset = draw.uniform(0.0, 16.0)
    return [draw.randrange(4), round(onset, 3), round(onset + draw.uniform(0.1, 4.0), 3)]


def nearby(draw, true):
    """Draw what a detector might make of a true event, sometimes by a wrong label."""
    label = true[0] if draw.random() < 0.7 else draw.randrange(4)
    onset = max(true[1] + draw.gauss(0.0, 0.2), 0.0)
    return [label, round(onset, 3), round(max(true[2] + draw.gauss(0.0, 0.5), onset + 0.05), 3)]


def shorten_list(events):
    """Return events as sed_eval takes them."""
    return [{"event_label": LABELS[k], "onset": a, "offset": b} for k, a, b in events]


def evaluated(case, onset, share, shuffle):
    """Return the event-based figures for one order of the events."""
    reference, prediction = list(case["reference"]), list(case["prediction"])
    random.Random(shuffle).shuffle(reference)
    random.Random(shuffle + 100).shuffle(prediction)
    metrics = sed_eval.sound_event.EventBasedMetrics(
        LABELS,
        t_collar=onset,
        percentage_of_length=share or 0.5,
        evaluate_offset=share is not None,
        event_matching_type="optimal",
    )
    metrics.evaluate(shorten_list(reference), shorten_list(prediction))
    return figures(metrics)


def figures(metrics):
    """Return the figures of a scorer; None where they are not finite."""
    micro = metrics.results_overall_metrics()
    found = {**micro["f_measure"], **micro["error_rate"]}
    for label, own in metrics.results_class_wise_metrics().items():
        found["f1_" + label] = own["f_measure"]["f_measure"]
        found["er_" + label] = own["error_rate"]["error_rate"]
    return {
        name: None if value != value or value > 1e6 else round(value, 12)
        for name, value in found.items()
    }


if __name__ == "__main__":
    main()
