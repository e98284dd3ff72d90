/** The layers of the design: cli -> agent -> {provisioning, hub, issuer} -> {certificate, hsm}. */
const layer = (name, from, allowed) => ({
  name,
  severity: 'error',
  from: { path: from },
  to: { path: '^(src|sim|test)/', pathNot: allowed },
})
const shared = '^src/[a-z-]+\\.ts$'

module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'src-never-imports-sim-or-test',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(sim|test)/|leafkeeper-sim' },
    },
    { name: 'sim-never-imports-test', severity: 'error', from: { path: '^sim/' }, to: { path: '^test/' } },
    {
      name: 'cloud-is-independent',
      comment:
        'The simulated cloud must not share code with the device it tests; only the story, the fleet, the bench and what tests are given use both.',
      severity: 'error',
      from: { path: '^sim/', pathNot: '^sim/(story|fleet|bench|testing)/' },
      to: { path: '^src/|^leafkeeper($|/)' },
    },
    {
      name: 'machine-is-pure',
      comment: 'What decides imports nothing but its own vocabulary.',
      severity: 'error',
      from: { path: '^src/agent/(machine|reconcile|step-[a-z]+)\\.ts$' },
      to: { pathNot: '^src/agent/(states|events|effects|reconcile|step-[a-z]+)\\.ts$' },
    },
    layer('hsm-layer', '^src/hsm/', [shared, '^src/hsm/']),
    layer('tpm-layer', '^src/tpm/', [shared, '^src/(tpm|transport)/']),
    layer('certificate-layer', '^src/certificate/', [shared, '^src/(certificate|hsm)/']),
    layer('issuer-layer', '^src/issuer/', [shared, '^src/(issuer|provisioning|certificate|hsm|transport)/']),
    layer('provisioning-layer', '^src/provisioning/', [
      shared,
      '^src/(provisioning|certificate|hsm|transport)/',
    ]),
    layer('hub-layer', '^src/hub/', [shared, '^src/(hub|certificate|hsm|transport)/']),
    layer('log-layer', '^src/log/', [shared, '^src/log/']),
    layer('transport-layer', '^src/transport/', [shared, '^src/(transport|hsm)/']),
    layer('agent-layer', '^src/agent/', [
      shared,
      '^src/(agent|provisioning|hub|issuer|certificate|hsm|transport|log)/',
    ]),
    layer('metrics-layer', '^src/metrics/', [shared, '^src/(metrics|agent|hsm)/']),
    layer('testing-layer', '^src/testing/', [shared, '^src/(testing|hsm)/']),
    layer('config-layer', '^src/config/', [
      shared,
      '^src/(config|agent|provisioning|hub|issuer|hsm|transport|log|metrics)/',
    ]),
    layer('conformance-layer', '^src/conformance/', [shared, '^src/(conformance|certificate|hsm)/']),
    layer('cli-layer', '^src/cli/', [shared, '^src/(cli|agent|config|conformance|hsm|log|metrics)/']),
    {
      name: 'cli-on-top',
      comment: 'A library does not reach into its own command line.',
      severity: 'error',
      from: { path: '^(src|sim|test)/', pathNot: '^(src|test)/cli/' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'not-to-dev-dep',
      severity: 'error',
      from: { path: '^src/' },
      // An optional peer is a development dependency too, so that it is here for the tests.
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['npm-peer'] },
    },
    { name: 'not-to-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.d.ts', '.json'],
    },
  },
}
