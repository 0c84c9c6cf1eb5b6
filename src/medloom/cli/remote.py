"""``medloom predict --server``: what a bundle would do here, done by a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medloom.errors import UserError

if TYPE_CHECKING:
    from medloom.client import Client
    from medloom.client.files import Facts
    from medloom.inference.inputs import Entry
    from medloom.inference.metadata import Metadata
    from medloom.inference.writers import Outcome

__all__ = ["There", "check_options", "client_of", "there"]

_SAGEMAKER = "sagemaker://"


def check_options(given: Mapping[str, bool], *, server: str | None) -> None:
    """Refuse options that say how a bundle is run on this machine where a server runs it, and the other way round.

    Args:
        given: By option, whether it was given.
        server: Address of the server; None where there is none.

    Raises:
        UserError: If one was.
    """
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong and server is None:
        raise UserError(f"{wrong[0]} is about a server, whose address --server names; give both")
    if wrong:
        raise UserError(f"{wrong[0]} is about a bundle that runs on this machine; with --server leave it out")


@dataclass(frozen=True)
class There:
    """A model on a server.

    Args:
        client: Of the server.
        facts: What is known of the model.
        forms: Further forms of each answer that are written.
    """

    client: Client
    facts: Facts
    forms: tuple[str, ...]

    @property
    def columns(self) -> Sequence[str]:
        """Metadata that it takes."""
        return self.facts.columns

    def predict(
        self,
        images: Sequence[Entry],
        metadata: Sequence[Metadata],
        folder: Path,
        page: int | None,
        progress: Callable[[int, int], None],
    ) -> Outcome:
        """Ask about images, and write what belongs to the answers, and ``predictions.csv``.

        Args:
            images: What is predicted.
            metadata: Values by column, one for each image; empty where nothing is known of any.
            folder: Where to write.
            page: Page of files that have several.
            progress: Called with how many are done and how many there are.
        """
        from medloom.client.files import AskedFile, ask_files
        from medloom.inference.writers import KINDS
        from medloom.serving.batch import inputs_of, write_results

        target = self.facts.target
        named = target is None or KINDS[target.kind].writes_files or bool(self.forms)
        inputs = inputs_of(zip(images, metadata or [{}] * len(images), strict=True), named=named)
        files = [AskedFile(one.entry, one.metadata, one.name, one.problem) for one in inputs]
        found = ask_files(self.client, self.facts, files, folder, page=page, forms=self.forms, progress=progress)
        write_results(found.results, found.target, folder)
        return found


@contextmanager
def there(
    server: str, token_file: Path | None, model: str | None, forms: Sequence[str], *, metadata: bool
) -> Iterator[There]:
    """Give a model on a server.

    Args:
        server: Its address, or ``sagemaker://NAME``.
        token_file: A file with the token that it wants.
        model: Name of the model, where it has several.
        forms: Further forms of each answer that are written.
        metadata: Whether a table with metadata was given.

    Raises:
        UserError: If the address is none, the file is not there, or the server has no such model or form.
        ServerError: If the server gives no answer.
    """
    from medloom.client.files import Facts, facts_of
    from medloom.inference.writers import check_forms

    sagemaker = server.startswith(_SAGEMAKER)
    if sagemaker and metadata:
        raise UserError("an endpoint of SageMaker does not say which metadata its model takes; leave --metadata out")
    with client_of(server, token_file, model) as client:
        facts = Facts() if sagemaker else facts_of(client, model)
        if facts.target is not None:
            check_forms(forms, facts.target)
        yield There(client, facts, tuple(dict.fromkeys(forms)))


def client_of(server: str, token_file: Path | None, model: str | None) -> Client:
    """Return a client of a server or an endpoint.

    Raises:
        UserError: If the address is none, or the file is not there or has no use there.
    """
    from medloom.client import Client

    if token_file is not None and server.startswith(_SAGEMAKER):
        raise UserError("an endpoint of SageMaker is asked with the credentials of AWS; leave --token-file out")
    if token_file is not None and not token_file.is_file():
        raise UserError(f"--token-file names {token_file}, and there is no such file")
    return Client(server, token=token_file, model=model)
