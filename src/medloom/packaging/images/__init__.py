"""Container images: what is built from, how it is built, and what is done inside while it is built.

``context`` writes everything that a builder needs into a folder, ``builders`` drives Docker, Podman or Buildah, and
``finish`` is what the Containerfiles run on what they have installed: it leaves out what nobody uses (``trimming``),
compiles what a start imports (``rehearsal``) and lists what there is (``bill``). ``locks`` holds exact versions
with the hashes of their files; how they are written anew is in ``docs/containers.md``.
"""
