"""The configuration: one TOML file, environment variables over it, checked whole (docs: configuration)."""

from syncd.config.database import Database
from syncd.config.kinds import Address, parse_duration
from syncd.config.loading import find, load
from syncd.config.overrides import RESERVED
from syncd.config.problems import ConfigError, Problem
from syncd.config.result import Account, Config
from syncd.config.sections import Log, Media, Retention, Server

__all__ = [
    "RESERVED",
    "Account",
    "Address",
    "Config",
    "ConfigError",
    "Database",
    "Log",
    "Media",
    "Problem",
    "Retention",
    "Server",
    "find",
    "load",
    "parse_duration",
]
