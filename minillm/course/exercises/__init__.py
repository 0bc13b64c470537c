"""The exercises of the course: chapter_01.py holds those of chapter 1, and so on."""
