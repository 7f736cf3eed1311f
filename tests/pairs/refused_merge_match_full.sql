-- kinds: merge, fk. MATCH FULL wants all columns or none, and the column that tells rows apart is never NULL.
-- [source]
CREATE TABLE orders_eu (id int PRIMARY KEY);
CREATE TABLE orders_us (id int PRIMARY KEY);
CREATE TABLE lines_eu (id int PRIMARY KEY, of int);
CREATE TABLE lines_us (id int PRIMARY KEY, of int);
INSERT INTO orders_eu VALUES (1);
INSERT INTO lines_eu VALUES (1, 1);
INSERT INTO lines_us VALUES (1, NULL), (2, NULL);
-- [desired]
-- pcrd: merged_from orders_eu with region = 'eu'
-- pcrd: merged_from orders_us with region = 'us'
CREATE TABLE orders (region text, id int, PRIMARY KEY (region, id));
-- pcrd: merged_from lines_eu with region = 'eu'
-- pcrd: merged_from lines_us with region = 'us'
CREATE TABLE lines (region text, id int, of int, PRIMARY KEY (region, id),
    CONSTRAINT lines_of FOREIGN KEY (region, of) REFERENCES orders (region, id) MATCH FULL);
-- [refused]
-- 2 of 2 rows without the row of public.orders_us that the new foreign key lines_of demands of all columns or none
