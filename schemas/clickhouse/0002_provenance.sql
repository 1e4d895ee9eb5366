-- Which cut of which log each row came with, so that the rows of a cut can be counted. Rows from before this step have 0.

ALTER TABLE `logs_events` ADD COLUMN IF NOT EXISTS `tidewell_log` UInt64 CODEC(Delta(8), ZSTD(1));

ALTER TABLE `logs_events` ADD COLUMN IF NOT EXISTS `tidewell_cut` UInt64 CODEC(Delta(8), ZSTD(1));

ALTER TABLE `logs_events` ADD INDEX IF NOT EXISTS `tidewell_cut_minmax` `tidewell_cut` TYPE minmax GRANULARITY 1;
