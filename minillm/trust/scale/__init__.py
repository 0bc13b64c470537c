"""What a training step costs on many machines, stated before there are any.

    ring.py         an all-reduce by hand, on a list of arrays: the sum, and the bytes that it sends
    network.py      what a message and an all-reduce take, by latency and bandwidth
    compression.py  gradients in fewer bytes: what is sent, and what is known of the loss
    profile.py      a step on one machine, layer by layer
    cluster.py      the simulator: buckets, overlap, sharding, compression, local steps, stragglers
    batch_size.py   how many steps a larger batch saves (McCandlish et al. 2018)
"""
