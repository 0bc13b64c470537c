"""From pairs to groups: if A is like B and B like C, all three are one group (Tarjan 1975)."""


class UnionFind:
    """Groups of any hashable things; the smallest one names its group.

    Only what was ever joined takes memory.
    """

    def __init__(self):
        self.parent = {}

    def find(self, thing):
        """-> the smallest of the group of `thing`"""
        root = thing
        while (above := self.parent.get(root, root)) != root:
            root = above
        while (above := self.parent.get(thing, thing)) != root:  # shorten the path
            self.parent[thing] = root
            thing = above
        return root

    def join(self, one, other):
        one, other = sorted((self.find(one), self.find(other)))
        self.parent[one] = self.parent[other] = one

    def groups(self):
        """-> {name: sorted list of its members}, of all groups of two or more"""
        groups = {}
        for thing in sorted(self.parent):
            groups.setdefault(self.find(thing), []).append(thing)
        return groups
