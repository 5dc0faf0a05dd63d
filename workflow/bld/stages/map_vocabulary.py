"""Map a student's vocabulary and a teacher's to each other, for a method that reads such a map."""

from __future__ import annotations

from importlib import import_module

from bld.folders import whole_folder
from bld.pipeline.step import StepParser
from bld.tokenization.maps.files import VocabularyMap, save_map
from bld.tokenization.rendering import load_renderer


def main() -> None:
    """Write the map of one student and one teacher."""
    parser = StepParser(__doc__)
    parser.reads("--student", type=whole_folder)
    parser.reads("--teacher", type=whole_folder)
    parser.writes("--map")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        student = load_renderer(arguments.student, **settings["student_reading"])
        teacher = load_renderer(arguments.teacher, **settings["teacher_reading"])
        maker = import_module(f"bld.tokenization.maps.{settings['kind']}")
        pairs: VocabularyMap = maker.make_map(student, teacher)
        save_map(arguments.map, pairs)
        students, teachers = len(set(pairs.student_M)), len(set(pairs.teacher_M))
        print(
            f"{len(pairs.weight_M):,} pairs of {students:,} of the student's {len(student.vocabulary):,} ids "
            f"and {teachers:,} of the teacher's {len(teacher.vocabulary):,}"
        )


if __name__ == "__main__":
    main()
