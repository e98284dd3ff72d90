/** The versions that the device API has had. */
export const deviceApiVersions = [
  '2017-08-31-preview',
  '2017-11-15',
  '2018-04-01',
  '2018-09-01-preview',
  '2018-11-01',
  '2019-03-31',
  '2021-06-01',
  '2021-10-01',
  '2021-11-01-preview',
  '2025-07-01-preview',
] as const

/** The versions that the service API has had. */
export const serviceApiVersions = [
  '2017-08-31-preview',
  '2017-11-15',
  '2018-04-01',
  '2018-09-01',
  '2018-09-01-preview',
  '2019-03-31',
  '2021-10-01',
  '2025-07-01-preview',
] as const
