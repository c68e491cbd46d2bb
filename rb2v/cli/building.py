"""The commands from recordings to shards."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rb2v.cli.calibration_report import count_warnings, print_calibration
from rb2v.cli.shared import (
    Device,
    ExecutorName,
    RawDir,
    Workers,
    app,
    console,
    make_config,
    parse_charuco,
    parse_distortion,
    parse_milliseconds,
    parse_response,
    parse_size,
    print_splits,
    show_progress,
)
from rb2v.errors import Rb2vError

if TYPE_CHECKING:
    from rb2v.artifacts import TakeRegistration
    from rb2v.stages.align import TakeRecord

_REMEDIES = {
    "no-clock": "run 'rb2v doctor', look at calibration_overlay.png, and see that both videos show one scene",
    "out-of-range": "the sharp camera has to start first and stop last, or --sync motion has to find the offset",
    "dropped-frames": "use the cameras' own files from a card that is fast enough",
    "static": "record something that moves",
    "clipped": "shorten the shutter or close the aperture",
    "low-psnr": "look at calibration_overlay.png, and run 'rb2v doctor' for shutter and rig",
    "inconsistent": "look at calibration_overlay.png, and run 'rb2v doctor' for shutter and rig",
    "interpolation": "record slower motion, or with a sharp camera of more frames per second",
    "exposure": "lock both cameras' exposure",
    "flash": "light the scene with lamps that do not flicker",
}
"""What to do where a reason rejected most frames of a session."""

Weights = Annotated[Path | None, typer.Option(help="File of the matter's weights, for one that has some.")]


@app.command(epilog="Example: rb2v simulate --out session/raw")
def simulate(
    out: Annotated[Path, typer.Option(help="Raw directory to write; the truth goes to OUT/../truth.")],
    rig: Annotated[str, typer.Option(help="Name or path of a capture configuration.")] = "gopro_hero8",
    size: Annotated[str, typer.Option(help="Frame size of both cameras.")] = "720x540",
    seconds: Annotated[float, typer.Option(help="Length of a training take.")] = 3.0,
    test_seconds: Annotated[float, typer.Option(help="Length of a test take; 0 for none.")] = 1.0,
    categories: Annotated[str, typer.Option(help="Categories, with commas between.")] = "street,face,hand",
    photos: Annotated[Path | None, typer.Option(help="Folder of pictures to take textures from.")] = None,
    video: Annotated[
        Path | None, typer.Option(help="A real clip as the scene, each of its frames one tick of the 600 fps track.")
    ] = None,
    green_screen: Annotated[
        bool, typer.Option("--green-screen", help="The clip of --video was filmed before a green screen.")
    ] = False,
    screen: Annotated[
        Literal["full", "small"],
        typer.Option(help="Green screen of face and hand takes: full, or small with a studio around it."),
    ] = "full",
    plates: Annotated[bool, typer.Option("--plates/--no-plates", help="Clean plates of green-screen takes.")] = True,
    mirrored: Annotated[bool, typer.Option("--mirrored/--not-mirrored", help="Mirror one of the views.")] = True,
    drift_ppm: Annotated[float, typer.Option(help="How much faster the sharp camera's clock runs.")] = 80.0,
    max_offset: Annotated[
        float, typer.Option(help="The sharp camera starts earlier by a random time up to this, in seconds.")
    ] = 0.4,
    blurry_exposure_ms: Annotated[
        float | None, typer.Option(help="Shutter of the blurry camera; the rig's own by default.")
    ] = None,
    readout_ms: Annotated[
        str,
        typer.Option(
            metavar="BLURRY,SHARP", help="Rolling shutters: from the first row's centre of exposure to the last row's."
        ),
    ] = "0,0",
    motion: Annotated[
        float, typer.Option(help="Multiplies the amplitude of every movement; with 0 takes stand still.")
    ] = 1.0,
    distortion: Annotated[
        str,
        typer.Option(
            metavar="K1[,K1]", help="Radial distortion k1 of both lenses, or of the blurry and the sharp one."
        ),
    ] = "0",
    bump: Annotated[
        float,
        typer.Option(help="Pixels by which the sharp camera is knocked out of place in each take after the captures."),
    ] = 0.0,
    noise: Annotated[bool, typer.Option("--noise/--no-noise", help="Shot and read noise.")] = True,
    crf: Annotated[int, typer.Option(help="Constant rate factor of the H.264 encoder; lower is better.")] = 18,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Simulate a recording session whose answer is known."""
    from rb2v.artifacts import CATEGORIES
    from rb2v.execution import make_executor
    from rb2v.simulator import SimulateConfig
    from rb2v.simulator import simulate as run

    chosen = tuple(name for name in CATEGORIES if name in categories.split(","))
    for name in categories.split(","):
        if name not in CATEGORIES:
            raise Rb2vError(f"--categories: {name!r} is not a category; expected some of {', '.join(CATEGORIES)}")
    blurry_readout_seconds, sharp_readout_seconds = parse_milliseconds(readout_ms, "--readout-ms")
    config = make_config(
        lambda: SimulateConfig(
            rig=rig,
            size=parse_size(size, "--size"),
            seconds=seconds,
            test_seconds=test_seconds or seconds,
            test_takes=test_seconds > 0,
            categories=chosen,
            mirrored=mirrored,
            drift_ppm=drift_ppm,
            max_offset_seconds=max_offset,
            noise=noise,
            crf=crf,
            blurry_exposure_seconds=None if blurry_exposure_ms is None else blurry_exposure_ms / 1000,
            blurry_readout_seconds=blurry_readout_seconds,
            sharp_readout_seconds=sharp_readout_seconds,
            motion=motion,
            bump_px=bump,
            distortion=parse_distortion(distortion, "--distortion"),
            screen=screen,
            plates=plates,
            seed=seed,
        )
    )
    with show_progress("recording") as show:
        truth = run(
            out,
            config,
            photos_dir=photos,
            video=video,
            green_screen=green_screen,
            executor=make_executor(workers, executor),
            on_done=show,
        )
    console.print(f"raw directory: {out}\ntruth: {truth}", soft_wrap=True)


@app.command(epilog="Example: rb2v simulate-shards --out simulated/shards")
def simulate_shards(
    out: Annotated[
        Path, typer.Option(help="Folder for the shards and manifest.json; the truth goes to OUT/../truth/NAME OF OUT.")
    ],
    motion: Annotated[
        Literal["single", "mixed", "blocks"],
        typer.Option(
            help="single: the camera pans; mixed: it does, and three to six objects move each its own way; blocks: a "
            "plain block moves before a dark wall."
        ),
    ] = "mixed",
    train: Annotated[int, typer.Option(help="Sequences to train on.")] = 2000,
    test: Annotated[int, typer.Option(help="Sequences to test on, of other pictures.")] = 400,
    size: Annotated[int, typer.Option(help="Side of the square frames in pixels.")] = 96,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    photos: Annotated[Path | None, typer.Option(help="Folder of pictures to take textures from.")] = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Write a data set straight from simulated streets, without cameras, and the true motion apart from it."""
    from rb2v.execution import make_executor
    from rb2v.simulator.sequences import SequencesConfig
    from rb2v.stages import simulate_shards as stage

    config = make_config(lambda: SequencesConfig(motion=motion, train=train, test=test, size=size, seed=seed))
    with show_progress("writing samples") as show:
        manifest = stage.run(out, config, photos_dir=photos, executor=make_executor(workers, executor), progress=show)
    print_splits(out)
    console.print(f"{manifest}\ntruth: {stage.truth_folder(out) / stage.MOTION_NAME}", soft_wrap=True)


@app.command(epilog="Example: rb2v calibrate --raw-dir session/raw --out session/calibration.json")
def calibrate(
    raw_dir: RawDir,
    out: Annotated[Path, typer.Option(help="Calibration file to write.")],
    board: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="Inner corners of the chessboard, across and down, which some capture has to show; a board of 9x6 is "
            "looked for, and need not be there, where none is named.",
        ),
    ] = None,
    charuco: Annotated[
        str | None,
        typer.Option(
            metavar="DICTIONARY,SQUARES[,SHARE]",
            help="A ChArUco board in place of the chessboard: OpenCV's name of the markers, squares across and down, "
            "and the side of a marker in sides of a square (0.5): DICT_6X6_250,5x7 for example.",
        ),
    ] = None,
    lenses: Annotated[
        Literal["auto", "none"],
        typer.Option(help="Find the lenses' distortion where the captures show it, or take the lenses for perfect."),
    ] = "auto",
    takes: Annotated[
        bool,
        typer.Option(
            help="Use takes that begin with what stands still as captures, too, and name those that do not fit the "
            "others: the rig was knocked."
        ),
    ] = True,
    response: Annotated[
        str | None,
        typer.Option(
            metavar="auto|srgb|linear|GAMMA",
            help="Response to undo for the colour map, in place of the rig's; auto for what the captures tell.",
        ),
    ] = None,
) -> None:
    """Find lenses, mirror, homography, crop and colour map from static captures."""
    from rb2v.io.calibration import read_calibration
    from rb2v.stages import calibrate as stage

    chosen = None if response is None else parse_response(response, "--response", "auto")
    config = make_config(
        lambda: stage.CalibrateConfig(
            board_corners=None if board is None else parse_size(board, "--board", "9x6"),
            charuco=None if charuco is None else parse_charuco(charuco, "--charuco"),
            lenses=lenses,
            takes=takes,
            response=cast("Any", chosen),
        )
    )
    with count_warnings() as counter, show_progress("calibrating") as show:
        stage.run(raw_dir, out, config, on_step=lambda name: show(label=name))
    print_calibration(out, read_calibration(out), counter.n_warnings)


@app.command(
    epilog="Example: rb2v align --raw-dir session/raw --calibration session/calibration.json --out session/aligned"
)
def align(
    raw_dir: RawDir,
    calibration: Annotated[Path, typer.Option(help="The rig's calibration.json.")],
    out: Annotated[Path, typer.Option(help="Folder for the aligned takes and alignment.csv.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings and thresholds; options given here come before it.")
    ] = None,
    take: Annotated[list[str] | None, typer.Option(help="Name of a take to align; may be repeated.")] = None,
    interpolator: Annotated[
        str | None,
        typer.Option(
            help="What makes frames between frames: flow (the default), quick-flow, linear, or a network, after "
            "'rb2v models fetch rife': rife, rife-symmetric, rife-3.5, rife-3.8 or rife-4.0; or cdfi."
        ),
    ] = None,
    interpolator_weights: Annotated[
        Path | None,
        typer.Option(
            help="The network's weights in place of its usual ones: for cdfi what 'rb2v train-interpolator' wrote or "
            "the authors' CDFI_adacof.pth, for rife a folder of its files."
        ),
    ] = None,
    sync: Annotated[
        str | None,
        typer.Option(help="Where the coarse offset comes from: auto (the default), sound, gyro, motion or timecode."),
    ] = None,
    response: Annotated[
        str | None,
        typer.Option(
            help="Response to undo before averaging, in place of the rig's: srgb, the exponent of a gamma, calibration "
            "for the one that CALIBRATION states, or linear to average coded values."
        ),
    ] = None,
    color: Annotated[str | None, typer.Option(help="Colour maps: per-frame (the default) or per-take.")] = None,
    color_fit: Annotated[
        str | None, typer.Option(help="Colour maps of what corresponds, robust (the default), or of all pixels, plain.")
    ] = None,
    positions: Annotated[
        str | None, typer.Option(help="Positions from the take's clock (the default), or independent frame by frame.")
    ] = None,
    rolling_shutter: Annotated[
        str | None, typer.Option(help="report (the default) the cameras' different read-out, or compensate for it.")
    ] = None,
    per_take: Annotated[
        bool,
        typer.Option(
            "--per-take", help="Refine the homography for each take on its own frames, as after a knock to the rig."
        ),
    ] = False,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="As the paper does: coded values, every frame by itself, nothing rejected."),
    ] = False,
    min_psnr: Annotated[float | None, typer.Option(help="Frames explained worse than this, in dB, are rejected.")] = (
        None
    ),
    matter: Annotated[
        str | None,
        typer.Option(help="What tells the foreground of green-screen takes: chroma (the default) or background."),
    ] = None,
    weights: Weights = None,
    min_composite_psnr: Annotated[
        float | None,
        typer.Option(help="Green-screen frames that fulfil eq. (1) worse than this, in dB, once keyed, are rejected."),
    ] = None,
    min_explained_psnr: Annotated[
        float | None,
        typer.Option(
            help="Green-screen frames that foreground and screen explain worse than this, in dB, are rejected."
        ),
    ] = None,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Find for every blurry frame the sharp frames that it integrated, and map their colours."""
    from rb2v.execution import make_executor
    from rb2v.io.config import read_settings
    from rb2v.stages import align as stage

    if paper and config is not None:
        raise Rb2vError("--paper: is a configuration of its own; expected without --config")
    given = {
        "interpolator": interpolator,
        "sync": sync,
        "response": None if response is None else _find_response(response, calibration),
        "color": color,
        "color_fit": color_fit,
        "positions": positions,
        "rolling_shutter": rolling_shutter,
        "registration": "per-take" if per_take else None,
        "min_psnr_db": min_psnr,
        "matter": matter,
        "min_composite_psnr_db": min_composite_psnr,
        "min_explained_psnr_db": min_explained_psnr,
    }
    base = stage.AlignConfig.paper() if paper else stage.AlignConfig()
    if config is not None:
        base = read_settings(stage.AlignConfig, config)
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = make_config(lambda: dataclasses.replace(base, **chosen))
    records: list[stage.TakeRecord] = []
    with show_progress("aligning takes") as show:

        def count(record: stage.TakeRecord, n_takes: int) -> None:
            records.append(record)
            show(len(records), n_takes)

        written = stage.run(
            raw_dir,
            calibration,
            out,
            settings,
            weights=weights,
            interpolator_weights=interpolator_weights,
            take_names=take or (),
            device=device,
            executor=make_executor(workers, executor),
            on_take=count,
        )
    _print_alignment(records)
    console.print(str(written), soft_wrap=True)
    if records and not any(record.n_accepted for record in records):
        raise Rb2vError(f"{out}: no frame of any take was accepted: {_explain_rejections(records)}")


def _explain_rejections(records: Sequence[TakeRecord]) -> str:
    """Return what rejected most frames, and what may help."""
    from rb2v.artifacts import REASONS

    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.reasons)
    if not counts:
        return "the takes hold no frame"
    reason, n = counts.most_common(1)[0]
    remedy = _REMEDIES.get(reason, "docs/alignment.md says what each reason asks for")
    return f"{n} of {counts.total()} are {reason} ({REASONS[reason]}); {remedy}"


def _describe_shift(registration: TakeRegistration | None) -> str:
    if registration is None:
        return "-"
    refined = "" if registration.homography is None else ", refined"
    return f"{registration.shift_px:.2f} ± {registration.error_px:.2f}{refined}"


def _find_response(text: str, calibration_path: Path) -> str | float:
    from rb2v.errors import InputError
    from rb2v.io.calibration import read_calibration

    if text != "calibration":
        return parse_response(text, "--response", "calibration")
    stated = read_calibration(calibration_path).response
    if stated is None:
        expected = "a calibration whose captures tell it, or another --response"
        raise InputError(calibration_path, "states none", "response", expected)
    return stated


def _print_alignment(records: Sequence[TakeRecord]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("take", no_wrap=True)
    for name in ("frames", "accepted"):
        table.add_column(name, justify="right", no_wrap=True)
    # These wrap on a narrow terminal; cut short they would tell nothing.
    for name in ("offset", "drift [ppm]", "exposure [ms]", "shift [px]"):
        table.add_column(name)
    for record in records:
        clock, exposure = record.timing.clock, record.timing.exposure
        table.add_row(
            record.name,
            str(record.n_frames),
            str(record.n_accepted),
            record.timing.offset_source or "-",
            "-" if clock is None else f"{1e6 * clock.drift:.1f} ± {1e6 * clock.drift_error:.1f}",
            "-" if exposure is None else f"{1e3 * exposure.seconds:.1f} ± {1e3 * exposure.error_seconds:.1f}",
            _describe_shift(record.registration),
        )
    console.print(table)
    for record in records:
        if record.reasons:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in record.reasons.items())
            console.print(f"{record.name}: not accepted: {reasons}", soft_wrap=True)


@app.command(epilog="Example: rb2v build-shards --aligned session/aligned --out session/shards")
def build_shards(
    aligned: Annotated[Path, typer.Option(help="Folder that 'rb2v align' wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards and manifest.json.")],
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of pictures to put behind green-screen takes.")
    ] = None,
    light_match: Annotated[
        bool, typer.Option("--light-match", help="Bring each background nearer to its foreground's light.")
    ] = False,
    size: Annotated[str | None, typer.Option(help="Frame size; as aligned by default.")] = None,
    test_share: Annotated[float, typer.Option(help="Share of subjects for the test split, where takes are silent.")] = (
        0.2
    ),
    shard_samples: Annotated[int, typer.Option(help="Most samples of one shard.")] = 128,
    matter: Annotated[
        str | None, typer.Option(help="What tells the foreground of green-screen takes; as aligned by default.")
    ] = None,
    weights: Weights = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and the backgrounds.")] = 0,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Replace green screens, split by subject and write HDF5 shards."""
    from rb2v.execution import make_executor
    from rb2v.stages import build_shards as stage

    config = make_config(
        lambda: stage.BuildShardsConfig(
            output_size=None if size is None else parse_size(size, "--size"),
            test_share=test_share,
            shard_samples=shard_samples,
            matter=matter,
            light_match=light_match,
            seed=seed,
        )
    )
    with show_progress("writing samples") as show:
        manifest = stage.run(
            aligned,
            out,
            config,
            weights=weights,
            backgrounds=backgrounds,
            executor=make_executor(workers, executor),
            progress=show,
        )
    print_splits(out)
    console.print(str(manifest), soft_wrap=True)
