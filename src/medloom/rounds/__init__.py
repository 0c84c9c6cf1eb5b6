"""Rounds of work for workers that keep nothing: a store, a protocol in files, a barrier, and the mean of what came.

A coordinator publishes a round: weights, and the batch cut into shards. Workers, wherever they run, take the weights
and a shard and write what they made of it. The round ends when all shards are there, not when some time is over.
Nothing in here imports torch, so that a coordinator fits where only numpy and safetensors are; what workers compute is
theirs.
"""
