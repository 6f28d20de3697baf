// Budget Warden in a subscription, for `azd up`: one resource group with all that the app needs.
// What needs the running app comes after it: running.bicep and subscriptions.bicep, by infra/hooks/running.py.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('The name of azd\'s environment; resources are named after it.')
param environmentName string

@minLength(1)
@description('The region: one that has Flex Consumption (az functionapp list-flexconsumption-locations).')
@metadata({ azd: { type: 'location' } })
param location string

@minLength(36)
@maxLength(36)
@description('The object id of whoever deploys: the administrator of the database, where no other is named.')
param principalId string

@description('What that is. azd knows User and ServicePrincipal.')
param principalType 'User' | 'ServicePrincipal' = 'User'

@description('The object id of another administrator of the database, such as a group.')
param administratorId string = ''

@description('What that is.')
param administratorType 'User' | 'Group' | 'ServicePrincipal' = 'Group'

@description('The administrator\'s name in the database server; empty: of whoever deploys, the sign-in name or the id.')
param administratorName string = ''

@description('The mail provider: sendgrid, smtp, or acs (Azure Communication Services, made here).')
param emailProvider 'sendgrid' | 'smtp' | 'acs' = 'sendgrid'

@description('The address that mails come from; with acs and without a verified domain of your own it is made.')
param emailSender string = ''

@description('Addresses joined by ; that get what projects can\'t, what goes wrong, and the alert rules\' mails.')
param emailOperators string

param emailReplyTo string = ''
param supportContact string = ''
param smtpHost string = ''
param smtpUsername string = ''

@secure()
@description('SendGrid\'s API key, or the password at the mail server. It goes into the vault; empty: what is there stays.')
param mailKey string = ''

@description('With acs: a domain of your own. Empty: one that Azure makes.')
param acsDomain string = ''

@description('With acs: whether Azure has verified that domain. Until then mails come from one that Azure makes.')
param acsDomainVerified bool = false

@description('With acs: where mails are kept at rest.')
param acsDataLocation string = 'Europe'

@description('off, dry-run (only writes down what it would lock) or enforce.')
param lockMode 'off' | 'dry-run' | 'enforce' = 'dry-run'

@description('With enforce: whether machines are stopped before the lock.')
param lockStopCompute bool = false

@description('Whether Azure\'s own budgets are kept in step, and call the app at 100 %.')
param azureBudgets bool = false

@description('Resource groups that are never locked, joined by ;. The app\'s own always is one.')
param lockNever string = ''

@description('A staging installation: all its mails go to the operators.')
param staging bool = false

@description('Costs are made up, and no cloud is asked; with staging only.')
param madeUpCosts bool = false

@description('The size of the database: Basic (5 DTU, 2 GB), or S0, S1, S2 (10, 20, 50 DTU, 250 GB).')
param sqlSize 'Basic' | 'S0' | 'S1' | 'S2' = 'Basic'

@description('The free offer of Azure SQL (serverless), in place of a size.')
param sqlFreeOffer bool = false

@description('What becomes of the database once the month\'s free offer is used up.')
param sqlAfterFreeOffer 'AutoPause' | 'BillOverUsage' = 'AutoPause'

@description('The driver of the database: pyodbc, or mssqlpython where the platform has no ODBC driver.')
param sqlDriver 'pyodbc' | 'mssqlpython' = 'pyodbc'

@description('When a night begins: six fields, UTC.')
param usageSchedule string = '0 0 2 * * *'

@description('Where cost exports lie: the resource id of a storage account, or own for the app\'s; empty: there are none.')
param exportStorage string = ''

@description('The container of the exports.')
param exportContainer string = 'msexports'

@description('With events: the region of that storage account; empty: the app\'s.')
param exportLocation string = ''

@description('Whether Event Grid tells of new exports at once; without it they are found within the hour.')
param exportEvents bool = false

@description('The client id of the app registration by which people sign in; empty: nobody does.')
param webClientId string = ''

@description('The megabytes that an instance has.')
param instanceMegabytes 512 | 2048 | 4096 = 2048

@description('The most that logs and telemetry may come to in a day.')
param dailyLogGigabytes int = 1

var tags = { 'azd-env-name': environmentName }
var token = toLower(uniqueString(subscription().id, environmentName, location))
var names = {
  group: 'rg-${environmentName}'
  identity: 'id-${token}'
  storage: 'st${token}'
  workspace: 'log-${token}'
  insights: 'appi-${token}'
  operators: 'ag-operators-${token}'
  vault: 'kv-${token}'
  sqlServer: 'sql-${token}'
  database: 'warden'
  communication: 'acs-${token}'
  plan: 'plan-${token}'
  app: 'func-${token}'
  lockGroup: 'ag-lock-${token}'
  exportTopic: 'evgt-exports-${token}'
}
var queues = {
  QueueProjectUsageUpdate: 'project-usage-update'
  QueueProjectUsageNotification: 'project-usage-notification'
  QueueEmailNotification: 'email-notification'
  QueueProjectLock: 'project-lock'
  QueueCostExportImport: 'cost-export-import'
}
var exports = {
  have: !empty(exportStorage)
  subscription: exportStorage == 'own' || empty(exportStorage)
    ? subscription().subscriptionId
    : split(exportStorage, '/')[2]
  group: exportStorage == 'own' || empty(exportStorage) ? names.group : split(exportStorage, '/')[4]
  storage: exportStorage == 'own' || empty(exportStorage) ? names.storage : last(split(exportStorage, '/'))
}
// Azure's name of it: the identity that it names signs in for the registration, which needs no secret.
var federationSetting = 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
// Each is right with and without its last slash.
var openPaths = flatten(map(
  [
    '/api/budget-alert'
    '/api/health'
    '/api/cron/sync-aws-costs'
    '/finops/api/sync'
    '/finops/api/sync/status'
  ],
  path => [path, '${path}/']
))
var packageContainer = 'app-package'
var mailSecret = 'mail-key'
var isAcs = emailProvider == 'acs'
var isAcsDomainVerified = acsDomainVerified && !empty(acsDomain)
// Each once: Azure takes no receiver twice.
var operators = union(
  filter(map(split(replace(emailOperators, ',', ';'), ';'), each => trim(each)), each => !empty(each)),
  []
)
var kinds = { User: 'User', Group: 'Group', ServicePrincipal: 'Application' }
var whoDeploys = principalType == 'User' ? deployer().userPrincipalName : principalId
var administrator = {
  id: empty(administratorId) ? principalId : administratorId
  name: empty(administratorName) ? whoDeploys : administratorName
  kind: kinds[empty(administratorId) ? principalType : administratorType]
}
var vaultReference = '@Microsoft.KeyVault(SecretUri=https://${names.vault}${environment().suffixes.keyvaultDns}/secrets/${mailSecret})'
var lockGroupId = '${group.id}/providers/Microsoft.Insights/actionGroups/${names.lockGroup}'
var driver = {
  pyodbc: 'mssql+pyodbc://${sql.outputs.host}/${names.database}?driver=ODBC+Driver+18+for+SQL+Server&Authentication=ActiveDirectoryMsi&UID=${identity.outputs.clientId}'
  mssqlpython: 'mssql+mssqlpython://${sql.outputs.host}/${names.database}?Authentication=ActiveDirectoryMsi&UID=${identity.outputs.clientId}'
}

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: names.group
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  params: { name: names.identity, location: location, tags: tags }
}

module storage 'modules/storage.bicep' = {
  scope: group
  params: {
    name: names.storage
    location: location
    tags: tags
    packageContainer: packageContainer
    queues: map(items(queues), each => each.value)
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    workspaceName: names.workspace
    insightsName: names.insights
    actionGroupName: names.operators
    location: location
    tags: tags
    operators: operators
    dailyGigabytes: dailyLogGigabytes
  }
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  params: {
    insightsName: names.insights
    actionGroupName: names.operators
    location: location
    tags: tags
  }
  dependsOn: [monitoring]
}

module vault 'modules/vault.bicep' = {
  scope: group
  params: { name: names.vault, location: location, tags: tags, secretName: mailSecret, mailKey: mailKey }
}

module sql 'modules/sql.bicep' = {
  scope: group
  params: {
    serverName: names.sqlServer
    databaseName: names.database
    location: location
    tags: tags
    administrator: administrator
    size: sqlSize
    freeOffer: sqlFreeOffer
    afterFreeOffer: sqlAfterFreeOffer
  }
}

module mail 'modules/mail.bicep' = if (isAcs) {
  scope: group
  params: {
    name: names.communication
    tags: tags
    dataLocation: acsDataLocation
    domain: acsDomain
    isVerified: isAcsDomainVerified
  }
}

module access 'modules/access.bicep' = {
  scope: group
  params: {
    principalId: identity.outputs.principalId
    storageName: names.storage
    insightsName: names.insights
    vaultName: names.vault
    communicationName: isAcs ? names.communication : ''
  }
  dependsOn: [storage, monitoring, vault, mail]
}

module costExports 'modules/exports.bicep' = if (exports.have) {
  scope: resourceGroup(exports.subscription, exports.group)
  params: {
    storageName: exports.storage
    location: empty(exportLocation) ? location : exportLocation
    tags: tags
    container: exportContainer
    principalId: identity.outputs.principalId
    topicName: exportEvents ? names.exportTopic : ''
  }
  dependsOn: [storage]
}

module exportSender 'modules/queue-sender.bicep' = if (exports.have && exportEvents) {
  scope: group
  params: { storageName: names.storage, principalId: costExports!.outputs.topicPrincipalId }
}

module exportSubscription 'modules/export-events.bicep' = if (exports.have && exportEvents) {
  scope: resourceGroup(exports.subscription, exports.group)
  params: {
    topicName: names.exportTopic
    container: exportContainer
    queueAccountId: '${group.id}/providers/Microsoft.Storage/storageAccounts/${names.storage}'
    queueName: queues.QueueCostExportImport
  }
  dependsOn: [exportSender]
}

module app 'modules/app.bicep' = {
  scope: group
  params: {
    name: names.app
    planName: names.plan
    serviceName: 'warden'
    location: location
    tags: tags
    identityName: names.identity
    storageName: names.storage
    packageContainer: packageContainer
    instanceMegabytes: instanceMegabytes
    mostInstances: 40
    webClientId: webClientId
    federationSetting: federationSetting
    openPaths: openPaths
    settings: union(
      queues,
      empty(webClientId) ? {} : { '${federationSetting}': identity.outputs.clientId },
      {
        AzureWebJobsStorage__blobServiceUri: 'https://${names.storage}.blob.${environment().suffixes.storage}'
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: identity.outputs.clientId
        DatahubStorageConnectionString__queueServiceUri: 'https://${names.storage}.queue.${environment().suffixes.storage}'
        DatahubStorageConnectionString__credential: 'managedidentity'
        DatahubStorageConnectionString__clientId: identity.outputs.clientId
        APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
        AZURE_CLIENT_ID: identity.outputs.clientId
        // A message each at once; without it an instance of one core has five threads.
        // The worker leaves logs to the app, which sends them itself (shared/adapters/telemetry.py).
        PYTHON_ENABLE_OPENTELEMETRY: 'true'
        PYTHON_THREADPOOL_THREAD_COUNT: '8'
        // Else the host leaves out all but five traces a second, and failures with them; app and host read these two.
        OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
        OTEL_TRACES_SAMPLER_ARG: '1.0'
        WEBSITE_RESOURCE_GROUP: names.group
        DATABASE_URL: driver[sqlDriver]
        ProjectUsageCRON: usageSchedule
        WatchdogCRON: '0 */15 * * * *'
        CostExportCRON: '0 15 * * * *'
        CostExportStorage__blobServiceUri: exports.have
          ? 'https://${exports.storage}.blob.${environment().suffixes.storage}'
          : ''
        CostExportStorage__clientId: exports.have ? identity.outputs.clientId : ''
        COST_EXPORT_CONTAINER: exportContainer
        EMAIL_PROVIDER: emailProvider
        EMAIL_SENDER: isAcs && !isAcsDomainVerified ? 'DoNotReply@${mail!.outputs.senderDomain}' : emailSender
        EMAIL_OPERATORS: join(operators, ';')
        EMAIL_REPLY_TO: emailReplyTo
        SUPPORT_CONTACT: supportContact
        SENDGRID_API_KEY: emailProvider == 'sendgrid' ? vaultReference : ''
        SMTP_HOST: smtpHost
        SMTP_USERNAME: smtpUsername
        SMTP_PASSWORD: emailProvider == 'smtp' && !empty(smtpUsername) ? vaultReference : ''
        ACS_ENDPOINT: isAcs ? mail!.outputs.endpoint : ''
        LOCK_MODE: lockMode
        LOCK_STOP_COMPUTE: lockStopCompute ? 'true' : 'false'
        LOCK_NEVER: lockNever
        WARDEN_STAGING: staging ? 'true' : 'false'
        USE_MADE_UP_COSTS: madeUpCosts ? 'true' : 'false'
        LOCK_ACTION_GROUP_ID: azureBudgets ? lockGroupId : ''
      },
      loadJsonContent('app-settings.json')
    )
  }
  dependsOn: [access]
}

output AZURE_RESOURCE_GROUP string = names.group
output AZURE_FUNCTION_NAME string = names.app
output WARDEN_IDENTITY_NAME string = names.identity
output WARDEN_IDENTITY_CLIENT_ID string = identity.outputs.clientId
output WARDEN_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output WARDEN_SQL_SERVER string = names.sqlServer
output WARDEN_SQL_HOST string = sql.outputs.host
output WARDEN_SQL_DATABASE string = names.database
output WARDEN_VAULT string = names.vault
output WARDEN_QUEUE_URI string = 'https://${names.storage}.queue.${environment().suffixes.storage}'
output WARDEN_APP_HOST string = app.outputs.host
output WARDEN_LOCK_GROUP string = azureBudgets ? names.lockGroup : ''
output WARDEN_MAIL_DOMAIN string = isAcs ? mail!.outputs.senderDomain : ''
