-- $1: rows of listings, $2: seed. Every value is a function of the row's number and the seed: the same rows on every
-- server of every version (random() changed between versions). md5 gives four 32-bit numbers a call.
INSERT INTO public.listings (active, list_price, bedrooms, has_garage, listed_at, square_feet, is_featured,
    price_per_sqft, longitude, year_built, created_at, bathrooms, is_new_construction, latitude, description,
    address_line1, city, state_code, zip_code, agent_id)
SELECT a % 10 <> 0,
       (8000000 + b % 442000000) / 100.0,
       CASE WHEN c % 20 = 0 THEN NULL ELSE 1 + c % 5 END,
       d % 5 < 2,
       timestamp '2024-01-01' + (a % 63072000) * interval '1 second' + (b % 1000000) * interval '1 microsecond',
       500 + b % 7000,
       c % 20 = 1,
       ((d % 900000) / 1000.0)::real,
       -124 + (a % 57000) / 1000.0,
       1920 + b % 105,
       timestamp '2024-01-01' + (g % 63072000) * interval '1 second',
       1 + c % 3,
       d % 10 = 0,
       25 + (b % 23000) / 1000.0,
       CASE
           WHEN a % 33 = 0 THEN NULL
           -- Long enough, and random enough, to be stored out of line.
           WHEN a % 100 = 1 THEN (SELECT string_agg(md5(h || i::text), '' ORDER BY i) FROM generate_series(1, 128) i)
           ELSE (ARRAY['Two storeys of brick above the market square. ', 'A long low house with a walled garden behind. ',
                       'Top floor, north light, a lift that works. ', 'End of the row, with room for a workshop. ',
                       'Half timber, half glass, all of it dry. '])[1 + b % 5]
             || (ARRAY['Ten minutes by tram to the station. ', 'The bakery opens at six. ',
                       'Neighbours keep bees and lend ladders. ', 'Bring a torch for the cellar. '])[1 + c % 4]
             || 'Ref ' || h || CASE WHEN g % 2 = 0 THEN ' café on the corner.' ELSE '' END
       END,
       (1 + d % 9998) || ' ' || (ARRAY['Oak', 'Maple', 'Pine', 'Cedar', 'Elm', 'Main', 'Park', 'Lake'])[1 + a % 8]
           || ' ' || (ARRAY['St', 'Ave', 'Blvd', 'Dr', 'Rd', 'Way', 'Ln'])[1 + b % 7],
       (ARRAY['New York', 'Los Angeles', 'Chicago', 'Houston', 'Phoenix', 'Dallas'])[1 + c % 6],
       (ARRAY['NY', 'CA', 'IL', 'TX', 'AZ', 'TX'])[1 + c % 6],
       lpad((10000 + d % 89999)::text, 5, '0'),
       CASE WHEN a % 50 = 0 THEN NULL ELSE 1 + b % (SELECT count(*) FROM public.agents) END
FROM (
    SELECT g, h,
           ('x' || substr(h, 1, 8))::bit(32)::bigint & 2147483647 AS a,
           ('x' || substr(h, 9, 8))::bit(32)::bigint & 2147483647 AS b,
           ('x' || substr(h, 17, 8))::bit(32)::bigint & 2147483647 AS c,
           ('x' || substr(h, 25, 8))::bit(32)::bigint & 2147483647 AS d
    FROM (SELECT g, md5($2::bigint::text || ':' || g::text) AS h FROM generate_series(1, $1::bigint) g) numbered
) hashed
ORDER BY g
