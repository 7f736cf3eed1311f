-- kinds: using. Directives that lack what they need, or have too much.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
-- pcrd: order alphabetical
-- pcrd: accept LOSSY_CAST
CREATE TABLE t (
  id int PRIMARY KEY,
  a text -- pcrd: using a); DROP TABLE t; --
);
-- [refused]
-- pcrd::directive::value
-- order as_written|packed|keep
-- accept CODE reason=
-- using <expression over source columns>
