"""What is said of a restriction, to whom: to the EU's database, to the uploader, to viewers.

terms.py     the closed sets of the DSA Transparency Database
form.py      a statement of reasons as the database takes it, and what it may not hold
statement.py decision, outcome and policy → statements of reasons (pure)
personal.py  personal data in texts (pure, and of limited reach)
drafts.py    statements, checked, as rows of the outbox (pure)
answers.py   what an endpoint answered → what was sent, what was refused (pure)
send.py      the door to HTTP; folder.py to files; outbox.py empties the outbox through either
notice.py    a notice to the uploader in plain words
label.py     what a player needs to show a label
commands.py  `unmask report …`
"""
