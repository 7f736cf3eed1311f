-- kinds: merge, fk, key. What would change the column that tells rows apart stays behind; the key may be named with that column.
-- [source]
CREATE TABLE orders_eu (id int PRIMARY KEY);
CREATE TABLE orders_us (id int PRIMARY KEY);
CREATE TABLE lines_eu (id int PRIMARY KEY, of int, also int NOT NULL);
CREATE TABLE lines_us (id int PRIMARY KEY, of int, also int NOT NULL);
INSERT INTO orders_eu SELECT generate_series(1, 20);
INSERT INTO orders_us SELECT generate_series(11, 30);
INSERT INTO lines_eu SELECT g, CASE WHEN g % 3 > 0 THEN g % 20 + 1 END, g % 20 + 1 FROM generate_series(1, 50) AS g;
INSERT INTO lines_us SELECT g, CASE WHEN g % 2 > 0 THEN g % 20 + 11 END, g % 20 + 11 FROM generate_series(1, 50) AS g;
-- [desired]
-- pcrd: merged_from orders_eu with region = 'eu'
-- pcrd: merged_from orders_us with region = 'us'
CREATE TABLE orders (region text, id int, PRIMARY KEY (region, id));
-- pcrd: merged_from lines_eu with region = 'eu'
-- pcrd: merged_from lines_us with region = 'us'
-- pcrd: key (region, id)
CREATE TABLE lines (
    region text, id int, of int, also int NOT NULL,
    PRIMARY KEY (region, id),
    CONSTRAINT only_of FOREIGN KEY (region, of) REFERENCES orders (region, id) ON DELETE SET NULL (of),
    CONSTRAINT full_match FOREIGN KEY (region, also) REFERENCES orders (region, id) MATCH FULL ON UPDATE CASCADE,
    CONSTRAINT both_null FOREIGN KEY (region, of) REFERENCES orders (region, id) ON DELETE SET NULL,
    CONSTRAINT region_null FOREIGN KEY (region, of) REFERENCES orders (region, id) ON DELETE SET NULL (of, region),
    CONSTRAINT both_default FOREIGN KEY (region, of) REFERENCES orders (region, id) ON DELETE CASCADE ON UPDATE SET DEFAULT
);
-- [direct]
CREATE TABLE orders (region text, id int, PRIMARY KEY (region, id));
CREATE TABLE lines (
    region text, id int, of int, also int NOT NULL,
    PRIMARY KEY (region, id),
    CONSTRAINT only_of FOREIGN KEY (region, of) REFERENCES orders (region, id) ON DELETE SET NULL (of),
    CONSTRAINT full_match FOREIGN KEY (region, also) REFERENCES orders (region, id) MATCH FULL ON UPDATE CASCADE
);
-- [by hand]
CREATE TABLE orders AS SELECT 'eu' AS region, * FROM orders_eu UNION ALL SELECT 'us', * FROM orders_us;
CREATE TABLE lines AS SELECT 'eu' AS region, * FROM lines_eu UNION ALL SELECT 'us', * FROM lines_us;
