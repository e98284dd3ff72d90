/**
 * `npm run test:mutation`: breaks the code that decides, one place at a time, and expects a test to notice.
 * `-- --mutate src/agent/reconcile.ts` does it to one file.
 */
export default {
  mutate: [
    'src/agent/machine.ts',
    'src/agent/step-*.ts',
    'src/agent/reconcile.ts',
    'src/agent/roll-schedule.ts',
    'src/certificate/**/*.ts',
  ],
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner'],
  vitest: { configFile: 'test/vitest.mutation.config.ts' },
  coverageAnalysis: 'perTest',
  concurrency: 2,
  thresholds: { high: 95, low: 90, break: 90 },
  reporters: ['clear-text', 'html', 'json'],
  clearTextReporter: { allowColor: false, logTests: false },
  htmlReporter: { fileName: 'coverage/mutation/index.html' },
  jsonReporter: { fileName: 'coverage/mutation/mutation.json' },
  tempDirName: '.stryker-tmp',
  ignorePatterns: ['/coverage', '/dist', '/sim/dist', '/.leafkeeper'],
  allowConsoleColors: false,
}
