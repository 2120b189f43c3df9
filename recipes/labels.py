"""What the recordings are said to hold: sounds, events and environments, from their file names.

A sound has the AudioSet display name of what it is, where there is one (the ontology is CC BY 4.0,
see NOTICE). Patterns are matched against `LabeledClip.label`: ``esc50/dog``, ``ambience/rain``,
``library/event/door_slam``. Labels were given by those who published the recordings, not by
listening; a pattern takes what its words clearly mean and leaves the rest unnamed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dcasenet.labels import audioset_classes
from dcasenet.train.data.dataset import SPLITS, Split
from recipes.recordings import LabeledClip


@dataclass(frozen=True)
class SoundClass:
    """A class of sounds, and the recordings that belong to it.

    Attributes:
        name: Label for people.
        patterns: What `LabeledClip.label` looks like, as one regular expression, matched whole.
        audioset: Display name of the AudioSet class that means the same, where there is one.
        event: Whether its recordings are isolated sounds with onsets of their own.
    """

    name: str
    patterns: str
    audioset: str | None = None
    event: bool = True


def _sound(
    name: str, *patterns: str, audioset: str | None = None, event: bool = True
) -> SoundClass:
    return SoundClass(name, "|".join(patterns), audioset, event)


def _event(*words: str) -> str:
    """Match labels of the library's events, with the take letters that some carry."""
    return r"library/event/(?:" + "|".join(words) + r")(?:_?\d?[a-d])?"


SOUNDS: tuple[SoundClass, ...] = (
    # People
    _sound(
        "speech", r"events_extra/speech", r"dcase2016_task2/speech", r"library/speech/speech",
        r"library/mixed/speech", audioset="Speech",
    ),
    _sound("baby cry", "esc50/crying_baby", audioset="Baby cry, infant cry"),
    _sound(
        "laughter", "esc50/laughing", "events_extra/laughing", "dcase2016_task2/laughter",
        r"library/voice/laughter", r"library/event/Sound/Clonk/Skin/\w+ Laughter",
        _event("laugh_evil"), audioset="Laughter",
    ),
    _sound(
        "scream", "events_extra/scream",
        r"library/voice/(scream|scream_twist|rebel_yell|man_yelling)",
        r"library/event/Sound/Clonk/Skin/\w+ Scream", audioset="Screaming",
    ),
    _sound("cough", "esc50/coughing", "dcase2016_task2/cough", audioset="Cough"),
    _sound("throat clearing", "dcase2016_task2/clearthroat", audioset="Throat clearing"),
    _sound("sneeze", "esc50/sneezing", audioset="Sneeze"),
    _sound("snoring", "esc50/snoring", "events_extra/snoring", audioset="Snoring"),
    _sound(
        "breathing", "esc50/breathing", "events_extra/breathing", r"library/voice/crazybreathing",
        r"library/voice/water_bottle_breathe", audioset="Breathing",
    ),
    _sound(
        "chewing", r"library/voice/(chewing.*|eating_.*)", r"library/event/apple_bite",
        audioset="Chewing, mastication",
    ),
    _sound("clapping", "esc50/clapping", "events_extra/clapping", audioset="Clapping"),
    _sound("drinking", "esc50/drinking_sipping"),
    _sound(
        "footsteps", "esc50/footsteps", r"events_extra/footsteps(_water)?",
        _event("footsteps", "walking", "walking_in_dirt", "walking_on_wood", "heels_on_tile",
               "shoes_in_gravel", "stomp_up_stairs", "up_stairs", r"node_step_\w+"),
        r"library/event/Sound/Clonk/Movement Step(Hard|Soft)", audioset="Walk, footsteps",
    ),
    _sound(
        "crowd", "ambience/(crowd|cafe|market_square|people_outdoors)",
        r"library/scene/(crowd|laughing_crowd|hallwaytalking)", audioset="Crowd", event=False,
    ),
    # Animals
    _sound("dog", "esc50/dog", _event("dog", "dog_bark", "puppy_bark"), audioset="Dog"),
    _sound("cat", "esc50/cat", _event("cat_meow"), audioset="Cat"),
    _sound("cow", "esc50/cow", _event("cow_moo", "mooo"), audioset="Cattle, bovinae"),
    _sound(
        "sheep or goat", "esc50/sheep", _event("sheep_baa", "lamb", "goat_bleat"), audioset="Sheep"
    ),
    _sound("pig", "esc50/pig", _event("pig_snort", "pig_squeal"), audioset="Pig"),
    _sound("horse", _event("horse", "horse_neigh", "horse_snort", "gallop"), audioset="Horse"),
    _sound(
        "rooster", "esc50/rooster", _event("rooster"), audioset="Crowing, cock-a-doodle-doo"
    ),
    _sound("hen", "esc50/hen", _event("chicken"), audioset="Cluck"),
    _sound("duck", _event("duck_quack", "quack"), audioset="Duck"),
    _sound("crow", "esc50/crow", "events_extra/crow", _event("crow_caw"), audioset="Crow"),
    _sound(
        "bird song", "esc50/chirping_birds", "events_extra/chirping_birds", "ambience/birds_forest",
        r"library/scene/bird.*",
        _event("bird", "chirping", "chriping", "canary", "parrot_chirp"),
        audioset="Bird vocalization, bird call, bird song",
    ),
    _sound("owl", "ambience/night_owls", _event("owl_hoot"), audioset="Owl", event=False),
    _sound("frog", "esc50/frog", _event("frog"), audioset="Frog"),
    _sound("insect", "esc50/insects", _event("bee", "bees", "bumble_bee"), audioset="Insect",
           event=False),
    _sound(
        "crickets", "esc50/crickets", "ambience/night_insects",
        _event("cricket", "cicada", "grasshopper"), audioset="Cricket", event=False,
    ),
    _sound(
        "big cat", _event(r"(leopard|lion|tiger|jaguar)_(growl|roar|saw|snarl|bellow)"),
        audioset="Roaring cats (lions, tigers)",
    ),
    # Doors, furniture, kitchen
    _sound(
        "door knock", "esc50/door_wood_knock", "dcase2016_task2/knock", _event("door_knock"),
        audioset="Knock",
    ),
    _sound(
        "door slam", "dcase2016_task2/doorslam", r"events_extra/(door|door_metal|car_door|gate)",
        r"events_extra/metal_cabinet",
        _event("door_slam", "doorslam", "door_close", "door_shut", "car_door", "cardoor",
               "closingdoor", "door_openclose", r"slam(\(\w+\))?", "locker", "door_slam_tunnel"),
        r"library/voice/door_slam_clipped", r"library/event/Sound/Structures Door(Open|Close)",
        audioset="Slam",
    ),
    _sound(
        "door creak", "esc50/door_wood_creaks",
        _event("door_creak", "creaky_door", "door_squeak", "old_door", "lockersqueak",
               "tree_creak"),
        r"library/event/Sound/Structures HingeCreak",
        r"library/event/Sound/Hits/Materials/Wood WoodCreak", audioset="Creak",
    ),
    _sound("drawer", "dcase2016_task2/drawer", _event("drawer"),
           audioset="Drawer open or close"),
    _sound("cupboard", _event("cupboard"), audioset="Cupboard open or close"),
    _sound("cutlery", _event("cutlery"), audioset="Cutlery, silverware"),
    _sound(
        "dishes", _event("plates", "clean-dishes", "pan_pot", "pan_pot_lid", "pan_hit", "bowl",
                         "metal_pot", "bowlbang"),
        audioset="Dishes, pots, and pans",
    ),
    _sound("peeling", _event("peel")),
    _sound("chopping", _event("chopping", "bread_cutting", "cabbage", "lettuce"),
           audioset="Chopping (food)"),
    _sound("blender", _event("blender", "blender_pulse", "food_chopper", "juicer"),
           audioset="Blender", event=False),
    _sound("microwave", _event("microwave"), audioset="Microwave oven", event=False),
    _sound("fridge", _event("fridge"), event=False),
    _sound("extractor fan", _event("stove-fan", "fan", "fan_noise"), audioset="Mechanical fan",
           event=False),
    _sound("dishwasher", _event("dishwasher"), event=False),
    _sound("coffee machine", _event("coffee_machine"), event=False),
    _sound("can opening", "esc50/can_opening", _event("can_opening", "beer_cap", "coke_can")),
    _sound("glass breaking", "esc50/glass_breaking", "events_extra/glass_breaking",
           _event("glass_break", "glassbreak"),
           r"library/event/Sound/Hits/Materials/Glass Glass(Break|Shatter)", audioset="Shatter"),
    _sound("glass clink", "events_extra/glass_hit",
           _event("glasshit", "glass_cup", "wine_glass", "ting", "tinkle", "klink"),
           r"library/event/Sound/Hits/Materials/Glass GlassHit", audioset="Chink, clink"),
    # Office and home
    _sound("keyboard typing", "esc50/keyboard_typing", "events_extra/keyboard_typing",
           "dcase2016_task2/keyboard", audioset="Computer keyboard"),
    _sound("mouse click", "esc50/mouse_click", _event("click", "misc_click", "misc_clicks"),
           r"library/event/Sound/UI Click", audioset="Clicking"),
    _sound("paper", "dcase2016_task2/pageturn",
           _event("paper_crumple", "paper_bag", "turning_pages", "crumpled_bag", "crinkle",
                  "bag", "foilcrumble", "aluminium_foil", "foil_rattle", "bubblewrap",
                  "asprin_crinkle", "krinkle_plastic"),
           audioset="Crumpling, crinkling"),
    _sound("tearing", _event("paper_rip", "rip", "tearing_cloth", "cloth_ripping", "velcro",
                             "duct_tape", "packing_tape", "packingtape", "scotch_tape"),
           audioset="Tearing"),
    _sound("keys", "dcase2016_task2/keys", _event("keys", "key_jingle", "keyring"),
           audioset="Keys jangling"),
    _sound("coins", _event("coin", "coin_spinning", "coinflick", "coinspin", "droppingcoins",
                           "pennies", "rolling_coins", "spinning_large_coin"),
           audioset="Coin (dropping)"),
    _sound("camera shutter", "events_extra/camera_shutter", _event("camera"), audioset="Camera"),
    _sound("clock ticking", "esc50/clock_tick", _event("clock_tick", "watch_tick", "stopwatch"),
           audioset="Tick-tock"),
    # In AudioSet telephones and sirens are alarms.
    _sound("alarm", r"esc50/(clock_alarm|siren)", "dcase2016_task2/phone",
           r"events_extra/(alarm|car_alarm|reverse_beeper|siren)",
           _event("alarm", "buzzer", "police_siren", "modern_phone", "old_phone", "ring"),
           "library/scene/ambient_policesiren", audioset="Alarm"),
    _sound("telephone", "dcase2016_task2/phone", _event("modern_phone", "old_phone", "ring"),
           audioset="Telephone"),
    _sound("doorbell", _event("doorbell"), r"library/music/doorbell", audioset="Doorbell"),
    _sound("toilet flush", "esc50/toilet_flush", "events_extra/toilet_flush", _event("flush"),
           audioset="Toilet flush"),
    _sound("brushing teeth", "esc50/brushing_teeth", audioset="Toothbrush", event=False),
    _sound("vacuum cleaner", "esc50/vacuum_cleaner", _event("vacuum", "vacuum_rev", "duster"),
           audioset="Vacuum cleaner", event=False),
    _sound("washing machine", "esc50/washing_machine", _event("clothesdryer", "dryer"),
           event=False),
    _sound("hair dryer", _event("hair-dryer"), audioset="Hair dryer", event=False),
    _sound("shaver", _event("shaver"), audioset="Electric shaver, electric razor", event=False),
    _sound("balloon", _event(r"balloon(_\w+)?", "balloonrubbing")),
    # Water and fire
    _sound("pouring water", "esc50/pouring_water", _event("pouring_soda", "beer_pour"),
           audioset="Pour"),
    _sound("water drops", "esc50/water_drops", r"library/event/Sound/Liquids Waterdrop",
           audioset="Drip"),
    _sound("splash", _event("watersplash", "water_plunge", r"(big|small)-water-splash\d_\w+",
                            r"(big|small)-lava-splash\d_\w+", "water_hit", "swimming", "water"),
           r"library/event/Sound/Liquids (Splash|Swim)", audioset="Splash, splatter"),
    _sound("bubbling", _event("water_bubbles", "waterbubbles"), audioset="Gurgling",
           event=False),
    _sound("water tap", _event("water_tap", "running_water", "water_in_sink", "shower"),
           audioset="Water tap, faucet", event=False),
    _sound("stream", "ambience/water_stream", r"library/scene/(river|wild_river|waterfall)",
           r"library/event/Sound/Environment Waterfall", audioset="Stream", event=False),
    _sound("sea waves", "esc50/sea_waves", "ambience/sea_waves", "library/scene/waves_small",
           audioset="Waves, surf", event=False),
    _sound("rain", "esc50/rain", "ambience/rain(_indoors)?",
           r"library/scene/(ambient_rain|rain|rain_white_noise)", _event("rain_heavy"),
           r"library/event/Sound/Liquids StereoRain", audioset="Rain", event=False),
    _sound("thunder", "esc50/thunderstorm", "ambience/thunderstorm", "events_extra/thunder",
           r"library/scene/(thunder|rain\+thunder)", _event("thunder"),
           r"library/event/Sound/Environment/Lightning Thunder", audioset="Thunder", event=False),
    _sound("wind", "esc50/wind", "ambience/wind(_leaves)?", _event("wind"),
           r"library/event/Sound/Environment WindLoop", audioset="Wind", event=False),
    _sound("crackling fire", "esc50/crackling_fire", "ambience/fireplace", "library/scene/fire",
           _event("fire_crackle"), audioset="Fire", event=False),
    # Vehicles and machines
    _sound("car horn", "esc50/car_horn", "events_extra/car_horn",
           _event("honking", "vehicle_horn", "bicycle_horn"), r"library/music/car_horn",
           audioset="Vehicle horn, car horn, honking"),
    _sound("siren", "esc50/siren", "events_extra/siren", _event("police_siren"),
           "library/scene/ambient_policesiren", audioset="Siren", event=False),
    _sound("engine", "esc50/engine", "events_extra/engine",
           _event("car_engine", "car_motor", "motorbike_idle", "vehicle_motor_idle", "motor",
                  "engine_noise"),
           "library/scene/(driving|boat_engine|garbage_truck)", audioset="Engine", event=False),
    _sound("train", "esc50/train", "ambience/train",
           r"library/scene/(train|train_passing|boston_subway|subwaytrain.*|underground_train)",
           audioset="Train", event=False),
    _sound("train whistle", "events_extra/train_whistle", _event("train_whistle"),
           audioset="Train whistle", event=False),
    _sound("traffic", "ambience/street_traffic", "library/scene/street_noise",
           audioset="Traffic noise, roadway noise", event=False),
    _sound("airplane", "esc50/airplane", _event("jet_flyby", "jet_land", "airplane_prop"),
           audioset="Fixed-wing aircraft, airplane", event=False),
    _sound("helicopter", "esc50/helicopter", _event("helicopter"), audioset="Helicopter",
           event=False),
    _sound("chainsaw", "esc50/chainsaw", audioset="Chainsaw", event=False),
    _sound("hand saw", "esc50/hand_saw", "events_extra/hand_saw", audioset="Sawing", event=False),
    _sound("drill", _event("drill", "drill_small", "drill_on_pot", "drill_on_plastic_cup",
                           "powerdrill", "machinedrill", "dremel", "electric_screwdriver",
                           "drillinginstyrofoam"),
           audioset="Drill", event=False),
    # Impacts and tools
    _sound("metal hit", "events_extra/metal_hit",
           _event("metal_hit", "metalhit", "clang", "clangs", "small_metal_hit",
                  "short_metal_hit", "drymetalhit", "metal_beam_hit", "metal_sheet_hit",
                  "metal_strike", "metal_drop", "metal_lid_drop", "liddrop", "lidhit",
                  "metal_on_the_ground", "banging_a_grill", "hubcap", "bang_tin", "barel_hit",
                  "barel_strike", "bang_on_barel", "trashcan_hit", "garbagecan_hits",
                  "garbage_can_hit", "dumpster_hit", "metal_bars", "loudmetal_bars"),
           r"library/event/Sound/Hits/Materials/Metal \w+",
           r"library/event/Sound/Objects/Pickaxe \w+",
           audioset="Clang"),
    _sound("wood hit", "events_extra/(wood_hit|wood_chop)",
           _event("wood_slap", "wood_pole", "wood_box", "hand_on_wood", "board", "small_wood_crash",
                  r"breakwood0\d"),
           r"library/event/Sound/Hits/Materials/Wood \w*WoodHit",
           r"library/event/Sound/Environment/Tree Chop", r"library/music/woodblock.*",
           audioset="Wood"),
    _sound("thump", r"events_extra/(masonry|plastic)_hit",
           _event("thump", "thud", "bodyfall", "baffle", "fiberboard_percussive", "hollowhit"),
           r"library/event/Sound/Hits (General|Organic|Soft)Hit", audioset="Thump, thud"),
    _sound("scrape", _event("scrape", "scraping", "metal_scrape", "metalscrape", "dragging_chair",
                            "draggingmetal", "trashcan_drag", "trashcandragging", "pipe_drag",
                            "iron_slice", "grill_top_slide", "scraping_metal_edge"),
           audioset="Scrape"),
    _sound("squeak", _event("squeak", "squeaks", "squeaking", "chair_squeak", "plastic_squeak",
                            "toy_squeak", "rubber_toy", "squeal", "squeaky_music_stand"),
           audioset="Squeak"),
    _sound("whoosh", _event("swoosh", "woosh", "whiff", "rope_swish", "swish\\+spin"),
           r"library/event/Sound/Objects/Weapons WeaponSwing",
           r"library/event/Sound/Objects/Weapons/\w+ (Throw|Shoot)",
           audioset="Whoosh, swoosh, swish"),
    _sound("zipper", _event("zipper"), audioset="Zipper (clothing)"),
    _sound("gunshot", "events_extra/gunshot",
           _event("rifle_fire", "pistol_fire", "rifle_small_fire", "shotgun_fire_pump",
                  "ar_fire", "30mmsingle"),
           r"library/event/Sound/Objects/Weapons/Blunderbuss (GunShoot|BulletShot)",
           audioset="Gunshot, gunfire"),
    _sound("gun reload", r"events_extra/(gun_reload|gun_click)",
           _event("pistol_cock", "pistol_reload", "rifle_cock", "shotgun_pump", "rifle_fire_dry"),
           r"library/event/Sound/Objects/Weapons/Blunderbuss Click"),
    _sound("explosion", "events_extra/explosion",
           _event("explosion", "explosion1_smcameron", "explosion2_smcameron", "mine_explosion",
                  "explosion_juverisetila", "big_explosion_jobro", "nuke_explosion_cgeffex"),
           r"library/event/Sound/Fire Blast\w*", audioset="Explosion"),
    _sound("fireworks", "esc50/fireworks", "ambience/fireworks",
           _event("fireworks", "fireworks_pop"), audioset="Fireworks", event=False),
    # Bells and music
    _sound("church bells", "esc50/church_bells", "events_extra/church_bells",
           _event("church_bells"), "library/scene/outside_churchbells", audioset="Church bell",
           event=False),
    _sound("bell", r"library/music/(bell.*|iron_bell.*|metal_bell|tiny_bell|tinybell|templebell)",
           r"library/music/(smalltemplebell|cowbell\d_\w+|bike_bell|bowl_bell)",
           _event("bicycle_bell", "bell_ball"), audioset="Bell"),
    _sound("guitar", r"library/music/(Acoustic_guitar|guitar_.*)", audioset="Guitar"),
    _sound("bass drum", "library/music/(Bass_drum|kick|double_kick)", audioset="Bass drum"),
    _sound("snare drum", "library/music/(Snare_drum|snare_brush)", audioset="Snare drum"),
    _sound("hi-hat", "library/music/(Hi-hat|scissor_hh)", audioset="Hi-hat"),
    _sound("cymbal", r"library/music/(.*cymbal.*|cymbolscratch)", audioset="Cymbal"),
    _sound("piano", "library/music/piano.*", audioset="Piano"),
    _sound("violin", "library/music/(Violin_or_fiddle|violin_.*)", audioset="Violin, fiddle",
           event=False),
    _sound("cello", "library/music/(Cello|cello_.*)", audioset="Cello", event=False),
    _sound("double bass", "library/music/Double_bass", audioset="Double bass", event=False),
    _sound("flute", "library/music/(Flute|flute_.*)", audioset="Flute", event=False),
    _sound("clarinet", "library/music/Clarinet", audioset="Clarinet", event=False),
    _sound("saxophone", "library/music/(Saxophone|sax_.*)", audioset="Saxophone", event=False),
    _sound("music", "events_extra/music", r"library/music/music", r"library/mixed/music.*",
           audioset="Music", event=False),
)  # fmt: skip

# Environment → what is recorded there. The first that matches counts.
ENVIRONMENTS: Mapping[str, str] = {
    "sea shore": "esc50/sea_waves|ambience/sea_waves|library/scene/waves_small",
    "thunderstorm": r"esc50/thunderstorm|ambience/thunderstorm|events_extra/thunder"
    r"|library/scene/(thunder|rain\+thunder)|" + _event("thunder"),
    "rain": r"esc50/rain|ambience/rain(_indoors)?|library/scene/(ambient_rain|rain)"
    r"|library/event/Sound/Liquids StereoRain|" + _event("rain_heavy"),
    "wind": "esc50/wind|ambience/wind(_leaves)?|library/event/Sound/Environment WindLoop",
    "stream": r"ambience/water_stream|library/scene/(river|wild_river|waterfall)"
    r"|library/event/Sound/Environment Waterfall|library/scene/children_and_fountain"
    r"|" + _event("storm_water"),
    "park with birds": r"esc50/chirping_birds|ambience/birds_forest|events_extra/chirping_birds"
    r"|library/scene/bird.*|library/event/Sound/Environment BirdsLoop",
    "night insects": "esc50/crickets|ambience/night_insects|" + _event("cricket", "cicada"),
    "farmyard": "esc50/(rooster|hen|cow|pig|sheep)|ambience/farm|"
    + _event("cow_moo", "mooo", "chicken", "pig_snort", "sheep_baa", "lamb", "goat_bleat"),
    "train or subway": r"esc50/train|ambience/train|library/scene/(train|train_passing)"
    r"|library/scene/(boston_subway|subwaytrain.*|underground_train)",
    "street traffic": r"esc50/(car_horn|siren|engine)|ambience/street_traffic|events_extra/siren"
    r"|library/scene/(street_noise|driving|garbage_truck|ambient_policesiren)"
    r"|library/scene/(outdoors|outside_boston_conservatory|construction)",
    "people indoors": r"ambience/(crowd|cafe|market_square|people_outdoors)"
    r"|library/scene/(crowd|laughing_crowd|hallwaytalking|hallwaynoises|grocery_store|elevator)"
    r"|library/scene/(walking_in_trainstation|stomp_train_station)",
    "kitchen": _event(
        "blender", "clean-dishes", "plates", "cutlery", "cupboard", "drawer", "fridge", "microwave",
        "dishwasher", "stove-fan", "stove-burner", "juicer", "peel", "chopping", "toaster",
        "coffee_machine", "pan_pot", "water_in_sink",
    ),
    "bathroom": "esc50/(toilet_flush|brushing_teeth)|events_extra/toilet_flush|"
    + _event("shower", "hair-dryer", "shaver", "flush"),
    "office": "esc50/(keyboard_typing|mouse_click)|events_extra/keyboard_typing"
    "|dcase2016_task2/(keyboard|pageturn|phone)|" + _event("copier", "print", "shredder"),
    "home interior": "esc50/(vacuum_cleaner|washing_machine|clock_tick)|ambience/home_interior|"
    + _event("vacuum", "clothesdryer", "dryer", "clock_tick", "radiator"),
    "workshop": "esc50/(chainsaw|hand_saw)|ambience/construction_site|events_extra/hand_saw|"
    + _event("drill", "powerdrill", "machinedrill", "powertool", "dremel", "electric_screwdriver"),
    "fireside": "esc50/crackling_fire|ambience/fireplace|library/scene/fire",
    "aircraft": "esc50/(airplane|helicopter)|"
    + _event("jet_flyby", "jet_land", "helicopter", "airplane_prop", "jet_ambience"),
}  # fmt: skip

# In training alone: nobody knows where somebody sneezed, but it was hardly a farmyard, which was
# the answer before these had any environment.
LIKELY_ENVIRONMENTS: Mapping[str, str] = {
    "people indoors": "esc50/(crying_baby|laughing|coughing|sneezing|snoring|breathing|clapping)"
    "|esc50/drinking_sipping|dcase2016_task2/(clearthroat|cough|laughter)",
}

# Fewest sources of an environment in train, validation and test; fewest recordings of an event.
FEWEST_SOURCES: Mapping[Split, int] = {"train": 8, "validation": 2, "test": 2}
FEWEST_EVENTS = 30

# What lies under soundscapes: goes on, and holds none of the events as far as labels say.
BACKGROUNDS = (
    r"ambience/(boat|fireplace|night_insects|outdoor_nature|rain|rain_indoors|sea_waves|snowfall"
    r"|street_traffic|thunderstorm|train|underground|underwater|water_stream|wind|wind_leaves)"
    r"|esc50/(airplane|crackling_fire|crickets|engine|helicopter|rain|sea_waves|vacuum_cleaner"
    r"|washing_machine|wind|train|thunderstorm)"
    r"|library/scene/(ambient_rain|boat_engine|boston_subway|driving|elevator|fire|rain|river"
    r"|rain_white_noise|rain\+thunder|street_noise|subwaytrain.*|thunder|train|train_passing"
    r"|underground.*|waterfall|waves_small|wild_river|garbage_truck)"
    r"|library/event/(fridge|dishwasher|stove-fan|microwave|ambient_machine|background_noise"
    r"|ambiance|cicada|fan|fan_noise|compressor_motor|aircompressor|hair-dryer|shower|radiator)"
    r"|library/event/Sound/Environment (Waterfall|WindLoop)"
)
CONTINUOUS = BACKGROUNDS + (
    r"|esc50/(brushing_teeth|chainsaw|chirping_birds|clock_tick|hand_saw|insects|keyboard_typing"
    r"|snoring|siren|clock_alarm)|ambience/.*|library/scene/.*|library/event/(blender|juicer|drill)"
)


@dataclass(frozen=True)
class Group:
    """How much of the layers comes from which recordings.

    Attributes:
        shares: Name of a group → its share.
    """

    shares: Mapping[str, float]

    def __call__(self, recording: LabeledClip) -> str:
        """Return the group that a recording is in."""
        if recording.folder in ("esc50", "ambience"):
            return recording.folder
        kind = recording.label.split("/")[1]
        if kind == "speech":
            return "speech"
        if recording.folder == "library" and kind in ("music", "scene"):
            return kind
        return "events"


group = Group(
    {"esc50": 0.3, "ambience": 0.07, "scene": 0.07, "speech": 0.08, "music": 0.1, "events": 0.38}
)


def background(recording: LabeledClip) -> bool:
    """Return whether a recording may lie under a soundscape."""
    return re.fullmatch(BACKGROUNDS, recording.label) is not None


def continuous(recording: LabeledClip) -> bool:
    """Return whether a recording may be looped."""
    return re.fullmatch(CONTINUOUS, recording.label) is not None


@cache
def _sounds_of(label: str) -> tuple[SoundClass, ...]:
    return tuple(sound for sound in SOUNDS if re.fullmatch(sound.patterns, label))


@cache
def _environment(label: str) -> str | None:
    return _matching(ENVIRONMENTS, label)


def _matching(patterns: Mapping[str, str], label: str) -> str | None:
    return next((name for name, own in patterns.items() if re.fullmatch(own, label)), None)


@dataclass(frozen=True)
class LabelSets:
    """The labels that a checkpoint has, and what each recording carries of them.

    Attributes:
        tags: Names of sounds, or their AudioSet names.
        events: Names of events.
        environments: Names of environments.
    """

    tags: tuple[str, ...]
    events: tuple[str, ...]
    environments: tuple[str, ...]

    def tags_of(self, recording: LabeledClip) -> tuple[int, ...] | None:
        """Return the tags of a recording; None where its label names nothing."""
        names = {sound.name for sound in _sounds_of(recording.label)}
        return tuple(i for i, tag in enumerate(self.tags) if tag in names) or None

    def event_of(self, recording: LabeledClip) -> int | None:
        """Return the event that a recording holds alone, if it does."""
        for sound in _sounds_of(recording.label):
            if sound.event and sound.name in self.events:
                return self.events.index(sound.name)
        return None

    def environment_of(self, recording: LabeledClip) -> int | None:
        """Return the environment of a recording, if it is known."""
        name = _environment(recording.label)
        return self.environments.index(name) if name in self.environments else None

    def learned_environment_of(self, recording: LabeledClip) -> int | None:
        """Return the environment that is learned from: of a training recording, a likely one."""
        known = self.environment_of(recording)
        if known is not None or recording.split != "train":
            return known
        name = _matching(LIKELY_ENVIRONMENTS, recording.label)
        return self.environments.index(name) if name in self.environments else None


def taught_tags() -> tuple[str, ...]:
    """Return AudioSet's 527 tags in the order of the teacher's outputs.

    Example:
        >>> taught_tags()[0]
        'Speech'
    """
    return tuple(entry.name for entry in audioset_classes())


def named_tags(tags: Sequence[str]) -> list[list[float]]:
    """Return which AudioSet classes each own tag is, as rows of 0 and 1.

    Args:
        tags: Names of sounds.
    """
    class_of = {sound.name: sound.audioset for sound in SOUNDS}
    return [[float(class_of[tag] == name) for name in taught_tags()] for tag in tags]


def labeled_classes(recordings: Sequence[LabeledClip], labels: LabelSets) -> NDArray[np.bool_]:
    """Return which AudioSet classes each recording is labeled with, (recordings, 527)."""
    named = np.array(named_tags(labels.tags)) > 0
    own = [list(labels.tags_of(recording) or ()) for recording in recordings]
    return np.stack([named[tags].any(axis=0) for tags in own])


def count_sources(
    recordings: Sequence[LabeledClip], name_of: Mapping[str, str | None]
) -> dict[str, dict[Split, int]]:
    """Count the sources of each label on each Split.

    Args:
        recordings: The recordings.
        name_of: `LabeledClip.label` → label, or None.
    """
    sources: dict[str, dict[Split, set[str]]] = defaultdict(lambda: {s: set() for s in SPLITS})
    for recording in recordings:
        if (name := name_of.get(recording.label)) is not None:
            sources[name][recording.split].add(recording.source)
    return {
        name: {split: len(found) for split, found in of.items()} for name, of in sources.items()
    }


def choose(recordings: Sequence[LabeledClip], isolated: Mapping[str, int]) -> LabelSets:
    """Keep the labels that the recordings support.

    Args:
        recordings: All that may train.
        isolated: `LabeledClip.key` → number of isolated sounds that were found in it.

    Returns:
        Tags: every sound with sources in train and validation. Events: every sound with
        `FEWEST_EVENTS` isolated recordings, some of them in each split. Environments: those with
        `FEWEST_SOURCES`.
    """
    tags, events = [], []
    for sound in SOUNDS:
        own = [r for r in recordings if re.fullmatch(sound.patterns, r.label)]
        splits = {r.split for r in own}
        if {"train", "validation"} <= splits:
            tags.append(sound.name)
        alone = [r for r in own if isolated.get(r.key, 0) > 0]
        enough = len(alone) >= FEWEST_EVENTS and len({r.split for r in alone}) == len(SPLITS)
        if sound.event and enough:
            events.append(sound.name)
    places = count_sources(recordings, {r.label: _environment(r.label) for r in recordings})
    environments = [
        name
        for name in ENVIRONMENTS
        if name in places and all(places[name][s] >= n for s, n in FEWEST_SOURCES.items())
    ]
    return LabelSets(tuple(tags), tuple(events), tuple(environments))
