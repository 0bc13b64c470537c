"""Generate five tokens: the program that chapter 12 of the course follows with the debugger."""

from minillm import GPT2LMHeadModel, GPT2Tokenizer

model = GPT2LMHeadModel.from_pretrained("pydoc-tiny")
tokenizer = GPT2Tokenizer.from_pretrained("pydoc-tiny")
inputs = tokenizer("The class statement", return_tensors="np")
sequences = model.generate(**inputs, do_sample=False, max_new_tokens=5)
print(tokenizer.decode(sequences[0]))
