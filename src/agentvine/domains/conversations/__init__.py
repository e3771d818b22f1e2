"""What people and agents say to each other, and the control channel of running work.

`messages` are the talk with its tokens and cost; `chat_messages` are a worker's status, errors and
questions and the answers to them. A task's page shows both as one timeline.
Files that come with messages are kept in the data directory, once, and named by rows.
"""
