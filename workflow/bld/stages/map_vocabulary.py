"""Map a student's vocabulary and a teacher's to each other, for a method that reads such a map."""

from __future__ import annotations

from importlib import import_module

from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import MapVocabulary
from bld.tokenization.maps.files import VocabularyMap, save_map
from bld.tokenization.rendering import load_renderer


class Inputs(Files):
    student: Folder
    teacher: Folder


class Outputs(Files):
    map: File


def main() -> None:
    """Write the map of one student and one teacher."""
    with stage(MapVocabulary, Inputs, Outputs) as step:
        settings = step.settings
        student = load_renderer(step.inputs.student, **dict(settings.student_rendering))
        teacher = load_renderer(step.inputs.teacher, **dict(settings.teacher_rendering))
        maker = import_module(f"bld.tokenization.maps.{settings.kind}")
        pairs: VocabularyMap = maker.make_map(student, teacher)
        save_map(step.outputs.map, pairs)
        students, teachers = len(set(pairs.student_M)), len(set(pairs.teacher_M))
        print(
            f"{len(pairs.weight_M):,} pairs of {students:,} of the student's "
            f"{len(student.vocabulary):,} ids and {teachers:,} of the teacher's "
            f"{len(teacher.vocabulary):,}"
        )


if __name__ == "__main__":
    main()
