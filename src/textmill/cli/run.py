"""`textmill run`"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from textmill.cli.options import OutputOrDefault, Saying


@dataclass(frozen=True, kw_only=True)
class Run(Saying):
    """A whole pipeline, from text to a model folder and a report.

    Finished stages are kept, and a run that was cut goes on where it stopped when the same command is given again.

    Examples:
      textmill run
      textmill run lstm
      textmill run quickstart --set corpus=my.txt -o runs/mine
      textmill run quickstart --set training.steps=2000 --set model.width=384 -o runs/bigger
      textmill run runs/mine/run.json -o runs/again
    """

    recipe: Annotated[str, tyro.conf.Positional] = "quickstart"
    """A recipe's name: quickstart, pretrain, or one architecture's, nnlm, rnn, lstm, gru, transformer-xl, gpt, llama,
    sparse-llama, mixtral, bert, modern-bert. Or the run.json of an earlier run, or its folder."""
    output: OutputOrDefault = None
    """The run's folder; none means runs/RECIPE, or the folder of the run.json."""
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A setting to change, as a.b=value; may be given again."""
    fresh: bool = False
    """Start over, also what is finished."""
    force: bool = False
    """Write into a folder that holds something else."""
    list: bool = False
    """Print the recipe's settings and stop."""

    def run(self) -> int:
        from textmill import config
        from textmill.cli.terminal import StageReporter, stderr
        from textmill.recipes import resolve, run_resolved

        recipe, settings = resolve(self.recipe, self.set)
        if self.list:
            print(json.dumps(config.to_json(settings), indent=2, ensure_ascii=False))
            return 0
        output = self.output or self._folder(recipe.name)
        facts = run_resolved(
            recipe,
            settings,
            output,
            fresh=self.fresh,
            force=self.force,
            quiet=self.quiet,
            reporter=StageReporter(quiet=self.quiet),
        )
        if self.json:
            print(json.dumps({"folder": str(output), "stages": facts}, ensure_ascii=False))
        elif recipe.closing is not None:
            recipe.closing(output, facts)
        elif not self.quiet:
            stderr().print(f"the run is in {output}")
        return 0

    def _folder(self, name: str) -> Path:
        """Where the run goes when nobody says: a record goes on in its own folder."""
        if self.recipe == name:
            return Path("runs") / name
        given = Path(self.recipe)
        return given if given.is_dir() else given.parent
