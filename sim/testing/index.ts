/** For test suites of devices: import it as `leafkeeper-sim/testing`, with vitest beside it. */
export { startDevice } from './start-device.ts'
export { test, type SimulatedAzure } from './vitest.ts'
