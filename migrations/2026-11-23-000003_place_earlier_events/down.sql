UPDATE events SET position = NULL WHERE position <= 0;
