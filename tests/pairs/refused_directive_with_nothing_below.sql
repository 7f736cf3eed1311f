-- kinds: rename. A directive at the end of the file belongs to nothing.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- pcrd: renamed_from u
-- [refused]
-- pcrd::directive::unattached
