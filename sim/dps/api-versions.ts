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

/** The versions of `Microsoft.Devices/provisioningServices`, and of `IotHubs`. */
export const managementApiVersions = [
  '2017-11-15',
  '2018-01-22',
  '2018-04-01',
  '2019-11-04',
  '2020-01-01',
  '2020-03-01',
  '2020-09-01-preview',
  '2021-07-02',
  '2021-10-15',
  '2022-02-05',
  '2022-12-12',
  '2023-03-01-preview',
  '2023-06-30',
  '2025-02-01-preview',
] as const
