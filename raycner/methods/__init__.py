"""Methods: how a network resists forgetting. One file per method; a file in this folder registers itself."""

from raycner.methods.method import METHODS, Method, Student, StudentLoader, Teacher, TeacherOutputs
from raycner.methods.wrapper import Wrapper
from raycner.registry import discover

__all__ = ["METHODS", "Method", "Student", "StudentLoader", "Teacher", "TeacherOutputs", "Wrapper"]

discover(__name__, __path__)
