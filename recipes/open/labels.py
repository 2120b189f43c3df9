"""The labels of the open checkpoint: which recordings each environment, tag and event is made of.

A source is ``"folder/label"``: an ESC-50 category, or a label of the other data folders. These
tables are candidates; `recipes.open.split.choose` keeps those with enough recordings,
merges or drops the others, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from dcasenet.spec import Task


@dataclass(frozen=True)
class Candidate:
    """A label that the open checkpoint could have.

    Attributes:
        name: Label for people.
        sources: ``"folder/label"`` of everything that carries it.
        into: Label that takes its recordings if they are too few to stand alone.
        audioset: Display name of the AudioSet class that means the same, where there is one.
        always: Kept however few recordings there are (the 50 classes of ESC-50, as tags).
    """

    name: str
    sources: tuple[str, ...]
    into: str | None = None
    audioset: str | None = None
    always: bool = False


def _esc50(*categories: str) -> tuple[str, ...]:
    return tuple(f"esc50/{category}" for category in categories)


ENVIRONMENTS: tuple[Candidate, ...] = (
    Candidate("sea shore", (*_esc50("sea_waves"), "ambience/sea_waves")),
    Candidate("rain", (*_esc50("rain"), "ambience/rain", "ambience/rain_indoors")),
    Candidate(
        "thunderstorm",
        (*_esc50("thunderstorm"), "ambience/thunderstorm", "events_extra/thunder"),
        into="rain",
    ),
    Candidate("wind", (*_esc50("wind"), "ambience/wind", "ambience/wind_leaves")),
    Candidate("woodland birds", (*_esc50("chirping_birds"), "ambience/birds_forest")),
    Candidate("night insects", (*_esc50("crickets"), "ambience/night_insects")),
    Candidate("farmyard", (*_esc50("rooster", "hen", "cow", "pig", "sheep"), "ambience/farm")),
    Candidate("railway", (*_esc50("train"), "ambience/train", "events_extra/train_whistle")),
    Candidate(
        "street traffic",
        (*_esc50("car_horn", "siren", "engine"), "ambience/street_traffic"),
    ),
    Candidate(
        "home interior",
        (
            *_esc50("vacuum_cleaner", "washing_machine", "clock_tick", "brushing_teeth"),
            "ambience/home_interior",
        ),
    ),
    Candidate("fireside", (*_esc50("crackling_fire"), "ambience/fireplace")),
    Candidate(
        "workshop",
        (*_esc50("chainsaw", "hand_saw"), "ambience/construction_site", "events_extra/hand_saw"),
    ),
    Candidate("aircraft", _esc50("airplane", "helicopter")),
    Candidate("stream", ("ambience/water_stream",)),
    Candidate(
        "people around",
        (
            "ambience/crowd",
            "ambience/cafe",
            "ambience/market_square",
            "ambience/people_outdoors",
        ),
    ),
)

# ESC-50 category → name for people, AudioSet display name (None: AudioSet has no such class).
ESC50_TAGS: dict[str, tuple[str, str | None]] = {
    "airplane": ("airplane", "Fixed-wing aircraft, airplane"),
    "breathing": ("breathing", "Breathing"),
    "brushing_teeth": ("brushing teeth", "Toothbrush"),
    "can_opening": ("can opening", None),
    "car_horn": ("car horn", "Vehicle horn, car horn, honking"),
    "cat": ("cat", "Cat"),
    "chainsaw": ("chainsaw", "Chainsaw"),
    "chirping_birds": ("chirping birds", "Chirp, tweet"),
    "church_bells": ("church bells", "Church bell"),
    "clapping": ("clapping", "Clapping"),
    "clock_alarm": ("alarm clock", "Alarm clock"),
    "clock_tick": ("clock ticking", "Tick-tock"),
    "coughing": ("cough", "Cough"),
    "cow": ("cow", "Cattle, bovinae"),
    "crackling_fire": ("crackling fire", "Fire"),
    "crickets": ("crickets", "Cricket"),
    "crow": ("crow", "Crow"),
    "crying_baby": ("baby cry", "Baby cry, infant cry"),
    "dog": ("dog", "Dog"),
    "door_wood_creaks": ("door creak", "Creak"),
    "door_wood_knock": ("door knock", "Knock"),
    "drinking_sipping": ("drinking", None),
    "engine": ("engine", "Engine"),
    "fireworks": ("fireworks", "Fireworks"),
    "footsteps": ("footsteps", "Walk, footsteps"),
    "frog": ("frog", "Frog"),
    "glass_breaking": ("glass breaking", "Shatter"),
    "hand_saw": ("hand saw", "Sawing"),
    "helicopter": ("helicopter", "Helicopter"),
    "hen": ("hen", "Cluck"),
    "insects": ("insects", "Insect"),
    "keyboard_typing": ("keyboard typing", "Computer keyboard"),
    "laughing": ("laughter", "Laughter"),
    "mouse_click": ("mouse click", None),
    "pig": ("pig", "Pig"),
    "pouring_water": ("pouring water", "Pour"),
    "rain": ("rain", "Rain"),
    "rooster": ("rooster", "Crowing, cock-a-doodle-doo"),
    "sea_waves": ("sea waves", "Waves, surf"),
    "sheep": ("sheep", "Sheep"),
    "siren": ("siren", "Siren"),
    "sneezing": ("sneeze", "Sneeze"),
    "snoring": ("snoring", "Snoring"),
    "thunderstorm": ("thunderstorm", "Thunderstorm"),
    "toilet_flush": ("toilet flush", "Toilet flush"),
    "train": ("train", "Train"),
    "vacuum_cleaner": ("vacuum cleaner", "Vacuum cleaner"),
    "washing_machine": ("washing machine", None),
    "water_drops": ("water drops", "Drip"),
    "wind": ("wind", "Wind"),
}

# ESC-50 category → what the other folders add to it ("labels equal to an ESC-50 category mean the
# same sound", README of the data, and the evident near-equals).
_ADDED_TO_TAGS: dict[str, tuple[str, ...]] = {
    "breathing": ("events_extra/breathing",),
    "car_horn": ("events_extra/car_horn",),
    "chirping_birds": ("events_extra/chirping_birds", "ambience/birds_forest"),
    "church_bells": ("events_extra/church_bells",),
    "clapping": ("events_extra/clapping",),
    "coughing": ("dcase2016_task2/cough",),
    "crackling_fire": ("ambience/fireplace",),
    "crickets": ("ambience/night_insects",),
    "crow": ("events_extra/crow",),
    "door_wood_knock": ("dcase2016_task2/knock",),
    "engine": ("events_extra/engine",),
    "fireworks": ("ambience/fireworks",),
    "footsteps": ("events_extra/footsteps", "events_extra/footsteps_water"),
    "glass_breaking": ("events_extra/glass_breaking",),
    "hand_saw": ("events_extra/hand_saw",),
    "keyboard_typing": ("events_extra/keyboard_typing", "dcase2016_task2/keyboard"),
    "laughing": ("events_extra/laughing", "dcase2016_task2/laughter"),
    "rain": ("ambience/rain", "ambience/rain_indoors"),
    "sea_waves": ("ambience/sea_waves",),
    "siren": ("events_extra/siren",),
    "snoring": ("events_extra/snoring",),
    "thunderstorm": ("ambience/thunderstorm", "events_extra/thunder"),
    "toilet_flush": ("events_extra/toilet_flush",),
    "train": ("ambience/train",),
    "wind": ("ambience/wind", "ambience/wind_leaves"),
}

_SPEECH = ("events_extra/speech", "dcase2016_task2/speech")
_DOOR_SLAM = (
    "dcase2016_task2/doorslam",
    "events_extra/door",
    "events_extra/door_metal",
    "events_extra/car_door",
    "events_extra/metal_cabinet",
    "events_extra/gate",
)
_IMPACT = tuple(
    f"events_extra/{source}_hit" for source in ("wood", "masonry", "metal", "plastic", "glass")
)

TAGS: tuple[Candidate, ...] = (
    *(
        Candidate(
            name,
            (f"esc50/{category}", *_ADDED_TO_TAGS.get(category, ())),
            audioset=audioset,
            always=True,
        )
        for category, (name, audioset) in ESC50_TAGS.items()
    ),
    Candidate(
        "speech",  # one voice or many
        (
            *_SPEECH,
            "events_extra/radio_chatter",
            "ambience/crowd",
            "ambience/cafe",
            "ambience/market_square",
            "ambience/people_outdoors",
        ),
        audioset="Speech",
    ),
    Candidate("door slam", _DOOR_SLAM, audioset="Slam"),
    Candidate("impact", _IMPACT, audioset="Thump, thud"),
    Candidate("stream", ("ambience/water_stream",), audioset="Stream"),
    Candidate("music", ("events_extra/music",), audioset="Music"),
    Candidate("gunshot", ("events_extra/gunshot",), audioset="Gunshot, gunfire"),
    Candidate("throat clearing", ("dcase2016_task2/clearthroat",), into="cough"),
    Candidate("drawer", ("dcase2016_task2/drawer",)),
    Candidate("keys", ("dcase2016_task2/keys",)),
    Candidate("page turn", ("dcase2016_task2/pageturn",)),
    Candidate("scream", ("events_extra/scream",)),
)


def _event(name: str, category: str, *more: str) -> Candidate:
    added = _ADDED_TO_TAGS.get(category, ())
    return Candidate(
        name,
        (f"esc50/{category}", *added, *more),
        audioset=ESC50_TAGS[category][1],
    )


EVENTS: tuple[Candidate, ...] = (
    Candidate("speech", _SPEECH, audioset="Speech"),
    _event("baby cry", "crying_baby"),
    _event("dog", "dog"),
    _event("cat", "cat"),
    _event("cough", "coughing"),
    Candidate("throat clearing", ("dcase2016_task2/clearthroat",), into="cough"),
    _event("sneeze", "sneezing"),
    _event("laughter", "laughing"),
    _event("clapping", "clapping"),
    _event("footsteps", "footsteps"),
    _event("door knock", "door_wood_knock"),
    Candidate("door slam", _DOOR_SLAM, audioset="Slam"),
    _event("door creak", "door_wood_creaks"),
    Candidate("drawer", ("dcase2016_task2/drawer",)),
    _event("keyboard typing", "keyboard_typing"),
    _event("mouse click", "mouse_click"),
    Candidate(
        "alarm",
        (*_esc50("clock_alarm"), "events_extra/alarm", "events_extra/car_alarm"),
        audioset="Alarm",
    ),
    Candidate("phone", ("dcase2016_task2/phone",), into="alarm", audioset="Telephone"),
    Candidate("siren", ("esc50/siren", "events_extra/siren"), into="alarm", audioset="Siren"),
    _event("car horn", "car_horn"),
    _event("glass breaking", "glass_breaking"),
    _event("church bell", "church_bells"),
    _event("rooster", "rooster"),
    _event("crow", "crow"),
    _event("cow", "cow"),
    _event("sheep", "sheep"),
    _event("frog", "frog"),
    _event("can opening", "can_opening"),
    Candidate("impact", _IMPACT, audioset="Thump, thud"),
    Candidate("gunshot", ("events_extra/gunshot",), audioset="Gunshot, gunfire"),
)

CANDIDATES: dict[Task, tuple[Candidate, ...]] = {
    "scene": ENVIRONMENTS,
    "tag": TAGS,
    "event": EVENTS,
}

# What soundscapes are laid over: continuous, and free of every event above as far as their labels
# say (no crowds, farms, bird songs, building sites; thunder and trains are no events here).
BACKGROUNDS: tuple[str, ...] = (
    *(
        f"ambience/{label}"
        for label in (
            "boat",
            "fireplace",
            "night_insects",
            "outdoor_nature",
            "rain",
            "rain_indoors",
            "sea_waves",
            "snowfall",
            "street_traffic",
            "thunderstorm",
            "train",
            "underground",
            "underwater",
            "water_stream",
            "wind",
            "wind_leaves",
        )
    ),
    *_esc50(
        "airplane",
        "crackling_fire",
        "crickets",
        "engine",
        "helicopter",
        "rain",
        "sea_waves",
        "vacuum_cleaner",
        "washing_machine",
        "wind",
    ),
)
