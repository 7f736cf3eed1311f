-- kinds: identity. Identity columns are integers.
-- [source]
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (id text GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text);
-- [refused]
-- identity column
