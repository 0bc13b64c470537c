"""Files of what was trained to look inside."""

from minillm.models.safetensors_file import read_safetensors


def read_shapes(path, shapes):
    """-> {name: array} of a safetensors file

    shapes: {name: shape}, what the file has to hold
    Raises FileNotFoundError; ValueError, in one line, for a file that holds anything else.
    """
    arrays = read_safetensors(path)
    if arrays.keys() != shapes.keys():
        raise ValueError(f"{path} holds {_names(arrays)}, wanted {_names(shapes)}")
    for name, shape in shapes.items():
        if arrays[name].shape != tuple(shape):
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}, wanted "
                             f"{tuple(shape)}")
    return arrays


def _names(arrays, most=6):
    names = [*arrays][:most] + ["…"] * (len(arrays) > most)
    return ", ".join(names) or "nothing"
