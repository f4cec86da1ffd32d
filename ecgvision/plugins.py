"""Finds the installed formats and models, and binds the hooks to the chosen format."""

from __future__ import annotations

import difflib
import types as module_types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from ecgvision import defaults, hookspecs
from ecgvision.errors import PluginError, UsageError
from ecgvision.types import FormatInfo, Layout, Match, Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels

ENTRY_POINT_GROUP = "ecgvision"


@dataclass(frozen=True)
class Format:
    """One installed format: its plugin's hooks first, the core's defaults after them."""

    info: FormatInfo
    layouts: tuple[Layout, ...]
    caller: pluggy.PluginManager
    others: tuple[Any, ...]

    def detect(self, page: Page) -> Match | None:
        """The best of this format's layouts on the page, or None where there is no trace of one."""
        found = self._hook("detect_layout")(page=page, layouts=self.layouts)
        if found is not None and not isinstance(found, Match):
            raise PluginError(f"format {self.info.id}: detect_layout returned {found!r}, no Match")
        return found

    def remove_grid(self, page: Page, layout: Layout) -> Pixels:
        """(H, W) uint8, 0 ink and 255 paper, of an upright page."""
        import numpy as np

        ink = self._hook("remove_grid")(page=page, layout=layout)
        if not isinstance(ink, np.ndarray) or ink.ndim != 2 or ink.dtype != np.uint8:
            raise PluginError(
                f"format {self.info.id}: remove_grid must return (H, W) uint8, returned "
                f"{getattr(ink, 'dtype', type(ink).__name__)} {getattr(ink, 'shape', '')}"
            )
        return ink

    def _hook(self, name: str) -> pluggy.HookCaller:
        return self.caller.subset_hook_caller(name, remove_plugins=self.others)


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Formats:
    """All installed formats, and the plugins that are broken."""

    formats: tuple[Format, ...]
    broken: tuple[Broken, ...] = ()

    def find(self, name: str) -> Format:
        """The format of that id or alias. Raises `UsageError` for an unknown or ambiguous name."""
        wanted = name.strip().lower()
        exact = [f for f in self.formats if f.info.id.lower() == wanted]
        found = exact or [f for f in self.formats if wanted in map(str.lower, f.info.aliases)]
        if len(found) == 1:
            return found[0]
        ids = ", ".join(sorted(f.info.id for f in self.formats))
        if found:
            both = " and ".join(sorted(f.info.id for f in found))
            raise UsageError(f"format name {name!r} is ambiguous: {both} use it; give the full id")
        names = [n.lower() for f in self.formats for n in (f.info.id, *f.info.aliases)]
        near = difflib.get_close_matches(wanted, names, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        lost = "".join(f"; plugin {b.name} is broken: {b.reason}" for b in self.broken)
        raise UsageError(f"no format {name!r}{guess} Installed: {ids}{lost}")


def load_formats(extra: Iterable[tuple[str, Any]] = ()) -> Formats:
    """Load every installed format, each apart, so that a broken one costs only itself.

    `extra` are (name, plugin) pairs to register besides the installed ones.
    """
    plugins, broken = _installed()
    return build_formats([*plugins, *extra], broken)


def _installed() -> tuple[list[tuple[str, Any]], list[Broken]]:
    plugins: list[tuple[str, Any]] = []
    broken: list[Broken] = []
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda e: e.name):
        try:
            plugins.append((entry.name, entry.load()))
        except (Exception, SystemExit) as error:  # an import may fail in any way
            broken.append(Broken(entry.name, f"{type(error).__name__}: {error}"))
    return plugins, broken


@dataclass(frozen=True)
class ModelFiles:
    """The `model.toml` files that plugins name, each with its plugin, and the broken plugins."""

    paths: tuple[tuple[str, Path], ...]
    broken: tuple[Broken, ...] = ()


def load_model_files(extra: Iterable[tuple[str, Any]] = ()) -> ModelFiles:
    """Every installed plugin asked for its models, each apart: a broken one costs only itself.

    `extra` are (name, plugin) pairs besides the installed ones.
    """
    plugins, broken = _installed()
    paths: list[tuple[str, Path]] = []
    for name, given in (*plugins, *extra):
        try:
            paths += [(name, path) for path in _model_files(name, _hashable(name, given))]
        except Exception as error:  # a plugin's hook may raise anything
            broken.append(Broken(name, f"{type(error).__name__}: {error}"))
    return ModelFiles(tuple(paths), tuple(broken))


def _model_files(name: str, plugin: Any) -> list[Path]:
    found: list[Path] = []
    for given in _alone(name, plugin).hook.ecgvision_models():
        if isinstance(given, str | bytes):
            raise PluginError("ecgvision_models() must return several paths, returned one text")
        for path in given:
            if not isinstance(path, str | Path) or not Path(path).is_file():
                raise PluginError(
                    f"ecgvision_models() must return paths of model.toml files, returned {path!r}"
                )
            found.append(Path(path))
    return found


def build_formats(plugins: Sequence[tuple[str, Any]], broken: Iterable[Broken] = ()) -> Formats:
    """Check each (name, plugin) on its own, then register the good ones with one manager."""
    reports = list(broken)
    good: list[tuple[str, Any, FormatInfo, tuple[Layout, ...]]] = []
    for name, given in plugins:
        plugin = _hashable(name, given)
        try:
            if _has_models_alone(name, plugin):
                continue
            info, layouts = _checked(name, plugin)
            if any(info.id == other.id for _, _, other, _ in good):
                raise PluginError(f"another plugin already has the format id {info.id!r}")
            good.append((name, plugin, info, layouts))
        except Exception as error:  # a plugin's hook may raise anything
            reports.append(Broken(name, f"{type(error).__name__}: {error}"))
    manager = _manager((name, plugin) for name, plugin, _, _ in good)
    formats = tuple(
        Format(info, layouts, manager, tuple(p for _, p, _, _ in good if p is not plugin))
        for _, plugin, info, layouts in good
    )
    return Formats(formats, tuple(reports))


def _manager(plugins: Iterable[tuple[str, Any]]) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("ecgvision")
    manager.add_hookspecs(hookspecs)
    manager.register(defaults, "ecgvision-defaults")
    for name, plugin in plugins:
        manager.register(plugin, name)
    return manager


def _hashable(name: str, plugin: Any) -> Any:
    """The plugin, or its hooks in a module: pluggy keeps plugins in sets, all formats' together."""
    try:
        hash(plugin)
    except TypeError:
        hooks = module_types.ModuleType(name)
        members = {key: getattr(plugin, key, None) for key in dir(plugin)}
        vars(hooks).update({k: m for k, m in members.items() if hasattr(m, "ecgvision_impl")})
        return hooks
    return plugin


def _alone(name: str, plugin: Any) -> pluggy.PluginManager:
    """A manager of one plugin's own; raises `PluginError` and pluggy's errors."""
    if isinstance(plugin, type):
        raise PluginError(f"{plugin.__name__} is a class; register a module or an instance")
    manager = pluggy.PluginManager("ecgvision")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    manager.check_pending()  # a misspelt hook is ignored until this
    return manager


def _has_models_alone(name: str, plugin: Any) -> bool:
    """Whether a plugin brings models and no format."""
    hook = _alone(name, plugin).hook
    ours = (hook.format_info, hook.lead_layouts, hook.detect_layout, hook.remove_grid)
    return bool(hook.ecgvision_models.get_hookimpls()) and not any(
        one.get_hookimpls() for one in ours
    )


def _checked(name: str, plugin: Any) -> tuple[FormatInfo, tuple[Layout, ...]]:
    """What one plugin declares, taken in a manager of its own so that it cannot hurt others."""
    manager = _alone(name, plugin)
    if not manager.hook.format_info.get_hookimpls():
        raise PluginError("it does not implement the hook format_info()")
    info = manager.hook.format_info()
    if not isinstance(info, FormatInfo):
        raise PluginError(f"format_info() returned {info!r}, expected a FormatInfo")
    if not manager.hook.lead_layouts.get_hookimpls():
        raise PluginError("it does not implement the hook lead_layouts()")
    layouts = tuple(manager.hook.lead_layouts() or ())
    if not layouts or not all(isinstance(layout, Layout) for layout in layouts):
        raise PluginError("lead_layouts() must return at least one Layout and nothing else")
    names = [layout.name for layout in layouts]
    if len(set(names)) != len(names):
        raise PluginError(f"lead_layouts() uses a layout name twice: {', '.join(names)}")
    return info, layouts


def plugin_from(info: FormatInfo, layouts: Sequence[Layout]) -> module_types.ModuleType:
    """A plugin made of data alone: used for formats that live in a file and in tests."""

    @hookspecs.hookimpl
    def format_info() -> FormatInfo:
        return info

    @hookspecs.hookimpl
    def lead_layouts() -> Sequence[Layout]:
        return layouts

    plugin = module_types.ModuleType(f"ecgvision_format_{info.id}")
    vars(plugin).update(format_info=format_info, lead_layouts=lead_layouts)
    return plugin
