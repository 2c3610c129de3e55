-- Events from before there were positions stand below zero, in an order that keeps each site's.
UPDATE events SET position = earlier.position
FROM (SELECT site_id, number,
             row_number() OVER (ORDER BY occurred_at, site_id, number) - 1 - count(*) OVER () AS position
      FROM events WHERE position IS NULL) AS earlier
WHERE events.site_id = earlier.site_id AND events.number = earlier.number;
