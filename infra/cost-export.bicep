// A daily cost export of a subscription into a container, written with an identity of its own: the account may refuse keys.
// az deployment sub create --subscription ID --location REGION --template-file infra/cost-export.bicep \
//     --parameters storageId=/subscriptions/… from=2026-12-01T00:00:00Z
targetScope = 'subscription'

@description('The resource id of the storage account.')
param storageId string
param container string = 'msexports'
param folder string = 'costs'
param name string = 'daily-${uniqueString(subscription().id)}'
param location string = deployment().location
@description('FocusCost has both metrics; ActualCost and AmortizedCost have one.')
param dataset 'FocusCost' | 'ActualCost' | 'AmortizedCost' = 'FocusCost'
@description('The version of the dataset, as Cost Management lists them.')
param version string = dataset == 'FocusCost' ? '1.0r2' : '2024-08-01'
@description('When it runs for the first time, such as 2026-12-01T00:00:00Z: in the future.')
param from string
param until string = '2050-01-01T00:00:00Z'

resource export 'Microsoft.CostManagement/exports@2025-03-01' = {
  name: name
  location: location
  identity: { type: 'SystemAssigned' }
  properties: {
    definition: {
      type: dataset
      timeframe: 'MonthToDate'
      dataSet: {
        granularity: 'Daily'
        configuration: { dataVersion: version }
      }
    }
    schedule: {
      status: 'Active'
      recurrence: 'Daily'
      recurrencePeriod: { from: from, to: until }
    }
    format: 'Parquet'
    compressionMode: 'snappy'
    partitionData: true
    dataOverwriteBehavior: 'OverwritePreviousReport'
    deliveryInfo: {
      destination: {
        type: 'AzureBlob'
        resourceId: storageId
        container: container
        rootFolderPath: folder
      }
    }
  }
}

module writing 'modules/blob-writer.bicep' = {
  scope: resourceGroup(split(storageId, '/')[2], split(storageId, '/')[4])
  params: {
    storageName: last(split(storageId, '/'))
    container: container
    principalId: export.identity.principalId
  }
}
